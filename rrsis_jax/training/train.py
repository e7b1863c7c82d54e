"""Training: named factories, then a loop that reads as a table of contents."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import optax
from absl import logging
from clu import metric_writers, parameter_overview, periodic_actions

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder, schema
from rrsis_jax.data import run_data
from rrsis_jax.distributed import hosts, parallel, preemption
from rrsis_jax.evaluation import evaluate
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.evaluation.pictures import picture_arrays, write_pictures
from rrsis_jax.evaluation.scores import COLUMNS, METRICS_FILE, make_report, table, write_metrics
from rrsis_jax.models import registry
from rrsis_jax.training import initialization, optim, progress, train_state, train_step
from rrsis_jax.training.plan import check_batch_sizes, make_plan
from rrsis_jax.training.train_state import TrainState
from rrsis_jax.weights.checkpoints import Checkpoints


def train(config: ml_collections.ConfigDict, workdir: str) -> dict[str, Any]:
    """Trains, choosing by validation mIoU, and reports the best checkpoint on validation and test.

    Continues the run found in `workdir`, if any.

    Args:
      config: the whole configuration, see `configs/default.py`.
      workdir: the run's folder.

    Returns:
      What `metrics.json` holds: `best_step`, `splits` with their metrics, `history`.

    Raises:
      ValueError: if the configuration, the data or a checkpoint cannot be used.
      FloatingPointError: if the loss is no longer finite.
      preemption.Stopped: if a signal asked to stop; the state is saved.
    """
    schema.check(config)
    check_batch_sizes(config)
    folder, patience = pathlib.Path(workdir).absolute(), config.distributed.timeout
    with hosts.lead_first("prepare the data", patience):
        hosts.check_shared(folder / run_folder.FILE)
        folder.mkdir(parents=True, exist_ok=True)
        run_folder.save_or_check(config, folder)
        data = run_data.open_data(config, folder)
    plan = make_plan(config, data.num_samples("train"))
    schedule = optim.build_schedule(config.optim, plan.total)
    optimizer = optim.build_optimizer(config.optim, schedule)
    model = registry.build_model(config.model, axis_name=parallel.AXIS)
    evaluator = Evaluator(model, data)
    writer = make_writer(folder)

    template = make_state(config, model, optimizer)
    parameter_overview.log_parameter_overview(template.params, include_stats=False)
    with hosts.lead_first("read the checkpoints", patience):
        saved = open_checkpoints(config, folder)
        host_state, past = saved.restore_latest(template) or (template, {})
    memory, start = progress.Progress(**past), int(host_state.step)
    hosts.check_same("the step to go on from", start, patience)
    logging.info("Training from step %d to %d.", start, plan.total)
    state = parallel.replicate(host_state)
    train_fn = train_step.make_train_fn(config, model, optimizer)
    batches = parallel.device_batches(data.train_batches(start))
    pending, hooks = progress.PendingScalars(), make_hooks(config, folder, writer, plan.total)
    with contextlib.closing(saved):
        with preemption.StopRequest() as stop:
            for step in range(start + 1, plan.total + 1):
                batch = next(batches)
                state, scalars = train_fn(state, batch)
                pending.add(scalars, batch["index"])
                for hook in hooks:
                    hook(step)
                validated, stopping = plan.is_validated(step), stop.reached(step)
                if validated or stopping or step % config.train.log_every == 0:
                    log_training(pending.fetch(step), step, memory, schedule, writer)
                score = None
                if validated:
                    counts = evaluator.counts(state.eval_variables(), "validation")
                    record = memory.record(step, plan, counts.summary())
                    log_validation(record, config, state.eval_variables(), evaluator, writer)
                    score = record["mIoU"]
                if (validated or stopping) and hosts.is_lead():
                    host_state = parallel.unreplicate(state)
                    saved.save(step, host_state, dataclasses.asdict(memory), score)
                if stopping:
                    saved.wait()
                    raise stop.stopped(step, plan.total)
        saved.wait()
        report = report_best(config, folder, saved, evaluator.averaging(data.views), memory)
    writer.close()
    return report


def open_checkpoints(config: ml_collections.ConfigDict, folder: pathlib.Path) -> Checkpoints:
    """Returns the run's checkpoints; other hosts than the lead only read them."""
    return Checkpoints(
        folder / constants.CHECKPOINTS_FOLDER,
        config.checkpoint.keep_latest,
        read_only=not hosts.is_lead(),
    )


def make_writer(folder: pathlib.Path) -> metric_writers.MetricWriter:
    """Returns the writer to TensorBoard files and the log; other hosts than the lead only log."""
    return metric_writers.create_default_writer(
        folder, just_logging=not hosts.is_lead(), asynchronous=False
    )


def make_state(
    config: ml_collections.ConfigDict, model: nn.Module, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state before the first step, as host arrays."""
    init_key, dropout_key = jax.random.split(jax.random.PRNGKey(config.seed))
    variables = initialization.initial_variables(config, model, init_key)
    state = train_state.create_state(
        variables,
        optimizer,
        train_step.make_frozen(config.model),
        dropout_key,
        config.optim.ema_decay > 0,
    )
    return jax.device_get(state)


def make_hooks(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    writer: metric_writers.MetricWriter,
    total_steps: int,
) -> list[Callable[[int], Any]]:
    """Returns what happens beside the steps: lines with the remaining time, a profile."""
    hooks = [
        periodic_actions.ReportProgress(
            num_train_steps=total_steps, writer=writer, every_steps=None, every_secs=20.0
        )
    ]
    if config.train.profile_steps and hosts.is_lead():
        hooks.append(
            periodic_actions.Profile(
                logdir=folder,
                num_profile_steps=config.train.profile_steps,
                profile_duration_ms=None,
                every_secs=None,
            )
        )
    return hooks


def log_training(
    scalars: list[dict[str, float]],
    step: int,
    memory: progress.Progress,
    schedule: optax.Schedule,
    writer: metric_writers.MetricWriter,
) -> None:
    """Remembers the losses of finished steps and writes their means."""
    if not scalars:
        return
    memory.losses.extend(s["loss"] for s in scalars)
    means = {f"train/{key}": np.mean([s[key] for s in scalars]) for key in ("loss", "grad_norm")}
    writer.write_scalars(step, {**means, "train/learning_rate": float(schedule(step - 1))})


def log_validation(
    record: dict[str, Any],
    config: ml_collections.ConfigDict,
    variables: Any,
    evaluator: Evaluator,
    writer: metric_writers.MetricWriter,
) -> None:
    """Writes a validation's metrics and some of its predictions."""
    step = record["step"]
    shown = {key: record[key] for key in COLUMNS}
    writer.write_scalars(step, {f"validation/{key}": value for key, value in shown.items()})
    if config.eval.num_pictures:
        pictures = picture_arrays(evaluator, variables, "validation", config.eval.num_pictures)
        writer.write_images(step, {"validation/predictions": pictures})
    writer.flush()


def report_best(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    saved: Checkpoints,
    evaluator: Evaluator,
    memory: progress.Progress,
) -> dict[str, Any]:
    """Evaluates the best checkpoint on validation and test; writes table, JSON and pictures."""
    with hosts.lead_first("read the best checkpoint", config.distributed.timeout):
        step, variables = evaluate.best_variables(saved)
    data = evaluator.data
    names = [name for split in ("validation", "test") for name in data.evaluated(split)]
    scores = evaluate.score_splits(evaluator, variables, names, folder, step)
    report = make_report(config, step, scores, memory.history)
    if hosts.is_lead():
        write_metrics(folder / METRICS_FILE, report)
    if config.eval.num_pictures:
        pictures = picture_arrays(evaluator, variables, "test", config.eval.num_pictures)
        if hosts.is_lead():
            write_pictures(folder, "test", pictures)
    logging.info("Best checkpoint: step %d, %s", step, folder)
    print(table(scores), flush=True)
    return report
