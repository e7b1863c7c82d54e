"""Training: named factories, then a loop that reads as a table of contents."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from absl import logging
from clu import metric_writers, periodic_actions

from rrsis_jax import constants, io
from rrsis_jax.configuration import run_folder, schema
from rrsis_jax.data import datasets, run_data
from rrsis_jax.distributed import hosts, parallel, preemption
from rrsis_jax.evaluation import evaluate
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.evaluation.pictures import picture_arrays, write_pictures
from rrsis_jax.evaluation.scores import (
    COLUMNS,
    METRICS_FILE,
    make_report,
    show_table,
    write_metrics,
)
from rrsis_jax.geospatial import resolution
from rrsis_jax.models import registry
from rrsis_jax.models.contract import Model
from rrsis_jax.terminal import records, screen
from rrsis_jax.terminal.lines import Screen
from rrsis_jax.terminal.training import TrainingView
from rrsis_jax.training import (
    ahead,
    header,
    initialization,
    metric_writer,
    optim,
    progress,
    run_lock,
    train_state,
    train_step,
)
from rrsis_jax.training.plan import Plan, check_batch_sizes, make_plan
from rrsis_jax.training.train_state import TrainState
from rrsis_jax.types import Variables
from rrsis_jax.weights import sources
from rrsis_jax.weights.checkpoints import Checkpoints
from rrsis_jax.weights.sources import Source


def train(config: ml_collections.ConfigDict, workdir: str) -> dict[str, Any]:
    """Trains, choosing by validation mIoU, and reports the best checkpoint on validation and test.

    Continues the run of `workdir`, if any.

    Args:
      config: the whole configuration, see `configs/default.py`.
      workdir: the run's folder.

    Returns:
      What `metrics.json` holds: `best_step`, `splits` with their metrics, `history`.

    Raises:
      ValueError: if the configuration, the data or a checkpoint cannot be used, or another
        training is under way in the folder.
      FloatingPointError: if the loss is no longer finite.
      preemption.Stopped: if a signal asked to stop; the state is saved.
    """
    with screen.opened() as shown, records.collected(hosts.is_lead()) as log:
        return _train(config, pathlib.Path(workdir).absolute(), shown, log)


def _train(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    shown: Screen,
    log: records.LogFile,
) -> dict[str, Any]:
    schema.check(config)
    check_batch_sizes(config)
    model = registry.build(config)
    header.show_start(shown, config, folder)
    warn_of_unknown_resolution(config.data)
    patience = config.distributed.timeout
    with hosts.lead_first("prepare the data", patience):
        check_workdir(config, folder)
        data = run_data.open_data(config, folder, model)
    plan = make_plan(config, data.num_samples("train"))
    schedule = optim.build_schedule(config.optim, plan.total)
    optimizer = optim.build_optimizer(config.optim, schedule, model)
    shapes = state_shapes(config, model, optimizer)
    view = TrainingView(shown, plan.steps_per_epoch, plan.total, config.train.batch_size)
    train_fn: Callable = train_step.make_train_fn(config, model, optimizer)
    last = run_folder.last_checkpoint(folder)
    if ahead.is_safe(config, model, last, plan.total):
        view.compiling()
        arguments = ahead.shapes(shapes, model, config.train.batch_size)
        train_fn = ahead.CompiledAhead(train_fn, *arguments)
    starts, first = {}, None
    if last is None:  # else it goes on without what it began with
        starts = initialization.find_starts(config, sources.commits(folder))
        first = make_state(config, model, optimizer, starts)
    with begun(config, data, folder, starts):
        if hosts.is_lead():
            log.begin(folder / records.FILE)
        with hosts.lead_first("read the checkpoints", patience):
            saved = open_checkpoints(config, folder)
            restored = saved.restore_latest(shapes)
            host_state, past = restored or (first or make_state(config, model, optimizer), {})
        with contextlib.closing(saved):
            if hosts.is_lead():
                header.write_parameters(folder, host_state.params)
            hosts.check_same("the step to go on from", int(host_state.step), patience)
            header.show_rest(shown, data, host_state.params, plan, int(host_state.step))
            evaluator, writer = Evaluator(model, data), metric_writer.make_writer(folder)
            run = Run(config, folder, plan, schedule, evaluator, saved, writer, view)
            run.memory = progress.Progress(**past)
            run.fit(host_state, train_fn)
            averaging = evaluator.averaging(data.views)
            report = report_best(config, folder, saved, averaging, run.memory)
        writer.close()
    header.show_next(shown, data, folder)
    return report


@dataclasses.dataclass
class Run:
    """A training under way.

    Attributes:
      config: the whole configuration.
      folder: the run's.
      plan: its lengths in steps.
      schedule: the learning rate by step.
      evaluator: of the model in training and its data.
      saved: the run's checkpoints.
      writer: to TensorBoard and the log.
      view: what people see of it.
      memory: what is known of the steps behind.
    """

    config: ml_collections.ConfigDict
    folder: pathlib.Path
    plan: Plan
    schedule: optax.Schedule
    evaluator: Evaluator
    saved: Checkpoints
    writer: metric_writers.MetricWriter
    view: TrainingView
    memory: progress.Progress = dataclasses.field(default_factory=progress.Progress)

    def fit(self, host_state: TrainState, train_fn: Callable) -> None:
        """Takes the steps that are left, validating and saving as planned.

        Args:
          host_state: after the last finished step, as host arrays.
          train_fn: made by `train_step.make_train_fn`.

        Raises:
          FloatingPointError: if the loss is no longer finite.
          preemption.Stopped: if a signal asked to stop; the state is saved.
        """
        start, total = int(host_state.step), self.plan.total
        self._keep_frozen(host_state)
        state = parallel.replicate(host_state)
        batches = parallel.device_batches(self.evaluator.data.train_batches(start))
        pending = progress.PendingScalars()
        hooks = make_hooks(self.config, self.folder, self.writer, total)
        with preemption.StopRequest() as stop, self.view.running(start, self.memory.history):
            for step in range(start + 1, total + 1):
                batch = next(batches)
                state, scalars = train_fn(state, batch)
                pending.add(scalars, batch["index"])
                self.view.stepped(step)
                for hook in hooks:
                    hook(step)
                validated, stopping = self.plan.is_validated(step), stop.reached(step)
                if validated or stopping or step % self.config.train.log_every == 0:
                    self._log(step, pending.fetch(step))
                score = self._validate(step, state) if validated else None
                if validated or stopping:
                    self._save(step, state, score)
                if stopping:
                    self.saved.wait()
                    raise stop.stopped(step, total)
        self.saved.wait()

    def _log(self, step: int, finished: list[dict[str, float]]) -> None:
        """Shows and writes the scalars of the steps up to `step` that were not fetched before."""
        if finished:
            rate = float(np.asarray(self.schedule(step - 1)))
            log_training(finished, step, self.memory, rate, self.writer)
            self.view.fetched(step, [scalars["loss"] for scalars in finished], rate)

    def _validate(self, step: int, state: TrainState) -> float:
        """Returns the validation mIoU."""
        variables = state.eval_variables()
        with self.view.validating():
            counts = self.evaluator.counts(variables, "validation")
        record = self.memory.record(step, self.plan, counts.summary())
        self.view.validated(record)
        log_validation(record, self.config, variables, self.evaluator, self.writer)
        return record["mIoU"]

    def _keep_frozen(self, host_state: TrainState) -> None:
        if hosts.is_lead():
            _, frozen = optim.split_frozen(host_state.params, self.evaluator.model)
            self.saved.keep_frozen(frozen)

    def _save(self, step: int, state: TrainState, score: float | None) -> None:
        if hosts.is_lead():
            changing = state.without_frozen(self.evaluator.model)
            host_state = parallel.unreplicate(changing)
            self.saved.save(step, host_state, dataclasses.asdict(self.memory), score)


def check_workdir(config: ml_collections.ConfigDict, folder: pathlib.Path) -> None:
    """Refuses a folder where the run could not go on, before anything is prepared for it.

    Raises:
      ValueError: if another training is under way there, or it holds another run.
      OSError: see `io.check_writable`.
    """
    if hosts.is_lead():
        io.check_writable(folder)
        run_lock.check_free(folder)
    if (folder / run_folder.FILE).exists():
        run_folder.check(config, folder)


@contextlib.contextmanager
def begun(
    config: ml_collections.ConfigDict,
    data: run_data.RunData,
    folder: pathlib.Path,
    starts: Mapping[str, Source],
) -> Iterator[None]:
    """Locks the run's folder for the body and writes what a run begins with.

    All that can be refused was checked before, so that a mistake leaves no trace in the folder.

    Raises:
      ValueError: if another training is under way in the folder, or it holds another run.
    """
    with contextlib.ExitStack() as lock:
        with hosts.lead_first("begin the run", config.distributed.timeout):
            if hosts.is_lead():
                lock.enter_context(run_lock.held(folder))
            hosts.check_shared(folder / run_folder.FILE)
            run_folder.save_or_check(config, folder)
            data.keep(folder)
            if hosts.is_lead():
                sources.keep(folder, starts.values())
        yield


def warn_of_unknown_resolution(config_data: ml_collections.ConfigDict) -> None:
    """Asks for the metres a pixel, which predictions on scenes need, where there is one number."""
    if datasets.of_many_resolutions(config_data.dataset):
        return
    size, gsd = config_data.image_size, config_data.ground_sampling_distance
    note = resolution.training_note(config_data.dataset, gsd, size)
    if note and hosts.is_lead():
        logging.warning("%s", note)


def open_checkpoints(config: ml_collections.ConfigDict, folder: pathlib.Path) -> Checkpoints:
    """Returns the run's checkpoints; other hosts than the lead only read them."""
    return Checkpoints(
        folder / constants.CHECKPOINTS_FOLDER,
        config.checkpoint.keep_latest,
        read_only=not hosts.is_lead(),
    )


def make_state(
    config: ml_collections.ConfigDict,
    model: Model,
    optimizer: optax.GradientTransformation,
    starts: Mapping[str, Source] | None = None,
) -> TrainState:
    """Returns the state before the first step, as host arrays; see `initial_variables`."""
    init_key, dropout_key = jax.random.split(jax.random.PRNGKey(config.seed))
    variables = initialization.initial_variables(config, model, init_key, starts)
    averages = config.optim.ema_decay > 0
    state = train_state.create_state(variables, optimizer, model, dropout_key, averages)
    return jax.device_get(state)


def state_shapes(
    config: ml_collections.ConfigDict, model: Model, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the shapes and types of the state."""

    def create(variables: Variables, dropout_key: jax.Array) -> TrainState:
        averages = config.optim.ema_decay > 0
        return train_state.create_state(variables, optimizer, model, dropout_key, averages)

    return jax.eval_shape(create, model.shapes(), jax.random.PRNGKey(config.seed))


def make_hooks(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    writer: metric_writers.MetricWriter,
    total_steps: int,
) -> list[Callable[[int], Any]]:
    """Returns what happens beside the steps: lines with the remaining time, a profile."""
    hooks: list[Callable[[int], Any]] = [
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
    learning_rate: float,
    writer: metric_writers.MetricWriter,
) -> None:
    """Remembers the losses of finished steps and writes their means."""
    memory.losses.extend(s["loss"] for s in scalars)
    means = {
        f"train/{key}": np.mean([s[key] for s in scalars]) for key in scalars[0] if key != "finite"
    }
    writer.write_scalars(step, {**means, "train/learning_rate": learning_rate})


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
    there = [split for split in ("validation", "test") if split in data.builder.info.splits]
    names = [name for split in there for name in data.evaluated(split)]
    scores = evaluate.score_splits(evaluator, variables, names, folder, step)
    report = make_report(config, step, scores, memory.history)
    if hosts.is_lead():
        write_metrics(folder / METRICS_FILE, report)
    if config.eval.num_pictures:
        shown = names[-1]
        pictures = picture_arrays(evaluator, variables, shown, config.eval.num_pictures)
        if hosts.is_lead():
            write_pictures(folder, shown, pictures)
    logging.info("Best checkpoint: step %d, %s", step, folder)
    show_table(scores)
    return report
