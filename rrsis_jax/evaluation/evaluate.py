"""Evaluates a run: its best checkpoint on one or more splits."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data import run_data
from rrsis_jax.distributed import hosts, parallel
from rrsis_jax.evaluation import mask_files, sample_table
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.evaluation.sample_table import SampleTable
from rrsis_jax.evaluation.scores import (
    LANGUAGE_CHECK,
    NONE_RATE,
    make_report,
    score,
    show_table,
    write_metrics,
)
from rrsis_jax.models import registry
from rrsis_jax.terminal import records, screen, words
from rrsis_jax.types import Variables
from rrsis_jax.weights.checkpoints import Checkpoints


def evaluate_run(config: ml_collections.ConfigDict, workdir: str, split: str) -> dict[str, Any]:
    """Evaluates the best checkpoint of a finished or running run on one split.

    Prints the table and writes `metrics_<split>.json` and `.md`, and what `score_splits` writes,
    to the workdir.

    Args:
      config: the run's configuration.
      workdir: the run's folder.
      split: `train`, `validation` or `test`; of a mixture it is evaluated for each part.

    Returns:
      What `metrics_<split>.json` holds, see `make_report`.

    Raises:
      ValueError: if the folder holds no run, no whole checkpoint, or the split does not exist.
    """
    folder = pathlib.Path(workdir).absolute()
    run_folder.check(config, folder)
    with screen.opened() as shown, records.collected(hosts.is_lead()) as log:
        if hosts.is_lead():
            log.begin(folder / records.FILE)
        shown.fact("run", words.path(folder))
        shown.fact("devices", hosts.devices_in_words())
        return _evaluate(config, folder, split)


def _evaluate(
    config: ml_collections.ConfigDict, folder: pathlib.Path, split: str
) -> dict[str, Any]:
    model = registry.build(config)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    saved = Checkpoints(folder / constants.CHECKPOINTS_FOLDER, read_only=True)
    step, variables = best_variables(saved)
    saved.close()
    with hosts.lead_first("prepare the data", config.distributed.timeout):
        data = run_data.open_data(config, folder, model, split)
    evaluator = Evaluator(model, data, views=data.views)
    scores = score_splits(evaluator, variables, data.evaluated(split), folder, step)
    report = make_report(config, step, scores)
    if hosts.is_lead():
        write_metrics(folder / f"metrics_{split}.json", report)
    show_table(scores)
    return report


def best_variables(saved: Checkpoints) -> tuple[int, Variables]:
    """Returns the step and the replicated variables of the best checkpoint by validation mIoU.

    Raises:
      CheckpointError: if no checkpoint was validated yet, or the best one is damaged.
    """
    step, variables = saved.restore_best()
    return step, parallel.replicate(variables)


def score_splits(
    evaluator: Evaluator,
    variables: Variables,
    names: Sequence[str],
    folder: pathlib.Path,
    step: int,
) -> dict[str, Any]:
    """Evaluates splits under both protocols, with the language check.

    Writes of each split the table of its samples (see `sample_table.save`) and the predicted
    masks (see `mask_files.save`).

    Args:
      evaluator: of the run's model and data.
      variables: replicated.
      names: the splits.
      folder: the run's folder.
      step: of the checkpoint that the variables are from.

    Returns:
      For each split what `score` returns, with the mIoU under shuffled phrases and, if
      `eval.absent_phrases` asks for it, the share of absent phrases that got an empty mask.
    """
    scores = {}
    for name in names:
        masks = mask_files.masks_folder(folder, name)
        samples = evaluator.samples(variables, name, masks)
        shuffled = evaluator.counts(variables, name, shuffle_phrases=True).summary()
        check = {LANGUAGE_CHECK: shuffled["mIoU"]}
        if evaluator.data.config.eval.absent_phrases:
            check[NONE_RATE] = evaluator.none_rate(variables, name)
        table = SampleTable({**_about(evaluator, name, step), **check}, samples)
        if hosts.is_lead():
            sample_table.save(table, folder)
        scores[name] = {**score(table), **check}
    return scores


def _about(evaluator: Evaluator, split: str, step: int) -> dict[str, Any]:
    config = evaluator.data.config
    return {
        "split": split,
        "dataset": evaluator.data.builder.info.full_name,
        "data": dataclasses.asdict(evaluator.data.prepared.splits[split]),
        "image_size": config.data.image_size,
        "model": config.model.name,
        "checkpoint_step": step,
        "config_sha256": run_folder.config_hash(config),
    }
