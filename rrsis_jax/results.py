"""What a run reports: its best checkpoint on validation and test, as table, JSON and pictures."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from rrsis_jax import (
    breakdowns,
    constants,
    hosts,
    metrics,
    outputs,
    parallel,
    run_config,
    sample_table,
    visualize,
)
from rrsis_jax.checkpoints import Checkpoints
from rrsis_jax.data import splits
from rrsis_jax.evaluate import Evaluator
from rrsis_jax.models import segmenter
from rrsis_jax.sample_table import SampleTable
from rrsis_jax.types import Variables

METRICS_FILE = "metrics.json"
PICTURES_FOLDER = "pictures"
COLUMNS = ("oIoU", "mIoU", *(f"P@{x}" for x in constants.PRECISION_THRESHOLDS))
LANGUAGE_CHECK = sample_table.LANGUAGE_CHECK
NONE_RATE = "none, phrases absent"


def evaluate_run(config: ml_collections.ConfigDict, workdir: str, split: str) -> dict[str, Any]:
    """Evaluates the best checkpoint of a finished or running run on one split.

    Prints the table and writes `metrics_<split>.json` and `.md`, and what `score_splits` writes,
    to the workdir.

    Args:
      config: the run's configuration.
      workdir: the run's folder.
      split: `train`, `validation` or `test`.

    Returns:
      What `metrics_<split>.json` holds, see `make_report`.

    Raises:
      ValueError: if the folder holds no run, no whole checkpoint, or the split does not exist.
    """
    folder = pathlib.Path(workdir).absolute()
    run_config.check(config, folder)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    saved = Checkpoints(folder / constants.CHECKPOINTS_FOLDER, read_only=True)
    step, variables = best_variables(saved)
    saved.close()
    with hosts.lead_first("prepare the data", config.distributed.timeout):
        data = splits.open_data(config, folder)
    evaluator = Evaluator(segmenter.build_model(config.model), data, views=data.views)
    scores = score_splits(evaluator, variables, [split], folder, step)
    report = make_report(config, step, scores)
    if hosts.is_lead():
        write_metrics(folder / f"metrics_{split}.json", report)
    print(table(scores), flush=True)
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
    masks (see `native.save`).

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
        masks = masks_folder(folder, name)
        samples = evaluator.samples(variables, name, masks)
        shuffled = evaluator.counts(variables, name, shuffle_phrases=True).summary()
        check = {LANGUAGE_CHECK: shuffled["mIoU"]}
        if evaluator.data.config.eval.absent_phrases:
            check[NONE_RATE] = evaluator.none_rate(variables, name)
        found = SampleTable({**_about(evaluator, name, step), **check}, samples)
        if hosts.is_lead():
            sample_table.save(found, folder)
        scores[name] = {**score(found), **check}
    return scores


def masks_folder(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Returns where a run keeps a split's predicted masks."""
    return folder / f"predictions_{split}"


def score(found: SampleTable) -> dict[str, Any]:
    """Returns all numbers of an evaluated split.

    Returns:
      The metrics of the `paper` protocol with `oIoU interval` and `mIoU interval`; the same of
      the other protocol under `native`; and, of `paper`, `breakdowns` by column and value.
    """
    return {
        **with_intervals(found, "paper"),
        "native": with_intervals(found, "native"),
        "breakdowns": {
            column: breakdowns.breakdown(found, column, "paper") for column in breakdowns.COLUMNS
        },
    }


def with_intervals(found: SampleTable, protocol: str) -> dict[str, Any]:
    """Returns a protocol's metrics with `oIoU interval` and `mIoU interval`, 95 % bootstrap."""
    intervals = found.intervals(protocol)
    return {
        **found.summary(protocol),
        **{f"{name} interval": list(ends) for name, ends in intervals.items()},
    }


def make_report(
    config: ml_collections.ConfigDict,
    step: int,
    scores: dict[str, Any],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Returns what `metrics.json` holds.

    Args:
      config: the run's configuration.
      step: of the evaluated checkpoint.
      scores: made by `score_splits`.
      history: one record per validation; None if unknown.

    Returns:
      `best_step`, `config_sha256`, `legend`, `splits` and, if known, `history`.
    """
    report = {
        "best_step": step,
        "config_sha256": config_hash(config),
        "legend": metrics.LEGEND,
        "splits": scores,
    }
    return report if history is None else {**report, "history": list(history)}


def config_hash(config: ml_collections.ConfigDict) -> str:
    """Returns the SHA-256 of a configuration's JSON with sorted keys, whatever hosts it runs on."""
    kept = {
        key: value for key, value in json.loads(config.to_json()).items() if key != "distributed"
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def table(scores: dict[str, dict[str, Any]]) -> str:
    """Returns the metrics of each split and protocol in percent, as a Markdown table.

    Args:
      scores: made by `score_splits`.
    """
    checks = [c for c in (LANGUAGE_CHECK, NONE_RATE) if all(c in v for v in scores.values())]
    header = ["split", "protocol", "samples", *COLUMNS, *checks]
    rows = [header, ["---"] * len(header)]
    for name, values in scores.items():
        for protocol, part in (("paper", values), ("native", values["native"])):
            checked = [_percent(values, c) if protocol == "paper" else "" for c in checks]
            percent = [_percent(part, column) for column in COLUMNS]
            rows.append([name, protocol, str(part["samples"]), *percent, *checked])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_metrics(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes a report as JSON and, beside it, its table as Markdown with a legend."""
    outputs.write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    legend = "\n".join(f"- {name}: {meaning}" for name, meaning in report["legend"].items())
    outputs.write_text(
        path.with_suffix(".md"),
        f"{table(report['splits'])}\n\nIn percent, with bootstrap 95 % intervals; checkpoint "
        f"{report['best_step']}, configuration {report['config_sha256'][:12]}.\n\n{legend}\n",
    )


def picture_arrays(
    evaluator: Evaluator, variables: Variables, split: str, count: int
) -> np.ndarray:
    """Draws predictions of samples spread evenly over a split: uint8 (n, H, W, 3)."""
    predictions = evaluator.predictions(variables, split, evaluator.spread(split, count))
    figures = [
        visualize.prediction_figure(p.image, p.target, p.mask, p.phrase) for p in predictions
    ]
    return np.stack([visualize.to_array(figure) for figure in figures])


def write_pictures(folder: pathlib.Path, split: str, pictures: np.ndarray) -> None:
    """Writes pictures as `pictures/<split>_<k>.png` under the run's folder."""
    (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
    for k, picture in enumerate(pictures):
        visualize.save(picture, folder / PICTURES_FOLDER / f"{split}_{k:02d}.png")


def _about(evaluator: Evaluator, split: str, step: int) -> dict[str, Any]:
    config = evaluator.data.config
    return {
        "split": split,
        "dataset": evaluator.data.builder.info.full_name,
        "image_size": config.data.image_size,
        "decoder": config.model.decoder,
        "checkpoint_step": step,
        "config_sha256": config_hash(config),
    }


def _percent(values: Mapping[str, Any], column: str) -> str:
    number = f"{100 * values[column]:.2f}"
    if f"{column} interval" not in values:
        return number
    low, high = values[f"{column} interval"]
    return f"{number} [{100 * low:.2f}, {100 * high:.2f}]"
