"""What a run reports: its best checkpoint on validation and test, as table, JSON and pictures."""

import json
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from rrsis_jax import constants, parallel, run_config, visualize
from rrsis_jax.checkpoints import CheckpointError, Checkpoints
from rrsis_jax.data import splits
from rrsis_jax.evaluate import Evaluator
from rrsis_jax.models import segmenter
from rrsis_jax.types import Variables

CHECKPOINTS_FOLDER = "checkpoints"
METRICS_FILE = "metrics.json"
PICTURES_FOLDER = "pictures"
COLUMNS = ("oIoU", "mIoU", *(f"P@{x}" for x in constants.PRECISION_THRESHOLDS))


def evaluate_run(config: ml_collections.ConfigDict, workdir: str, split: str) -> dict[str, Any]:
    """Evaluates the best checkpoint of a finished or running run on one split.

    Prints the table and writes `metrics_<split>.json` to the workdir.

    Args:
      config: the run's configuration.
      workdir: the run's folder.
      split: `train`, `validation` or `test`.

    Returns:
      `best_step` and `splits` with the split's metrics.

    Raises:
      ValueError: if the folder holds no run, no whole checkpoint, or the split does not exist.
    """
    folder = pathlib.Path(workdir).absolute()
    run_config.check(config, folder)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)
    saved = Checkpoints(folder / CHECKPOINTS_FOLDER)
    step, variables = best_variables(saved)
    saved.close()
    evaluator = Evaluator(segmenter.build_model(config.model), splits.open_data(config, folder))
    report = {"best_step": step, "splits": score_splits(evaluator, variables, [split])}
    if jax.process_index() == 0:
        write_metrics(folder / f"metrics_{split}.json", report)
    print(table(report["splits"]), flush=True)
    return report


def best_variables(saved: Checkpoints) -> tuple[int, Variables]:
    """Returns the step and the replicated variables of the best checkpoint by validation mIoU.

    Raises:
      CheckpointError: if no checkpoint was validated yet, or the best one is damaged.
    """
    step = saved.best_step()
    if step is None:
        raise CheckpointError(
            f"{saved.directory} holds no validated checkpoint yet. Train first: "
            "`python main.py --config=… --workdir=…`."
        )
    return step, parallel.replicate(saved.restore_variables(step))


def score_splits(evaluator: Evaluator, variables: Variables, names: list[str]) -> dict[str, Any]:
    """Returns each split's metrics, with the mIoU under shuffled phrases beside them."""
    scores = {}
    for name in names:
        scores[name] = evaluator.counts(variables, name).summary()
        shuffled = evaluator.counts(variables, name, shuffle_phrases=True).summary()
        scores[name]["mIoU, phrases shuffled"] = shuffled["mIoU"]
    return scores


def table(scores: dict[str, dict[str, float]]) -> str:
    """Returns the metrics of each split in percent, as a Markdown table.

    Args:
      scores: made by `score_splits`.
    """
    header = ["split", "samples", *COLUMNS, "mIoU, phrases shuffled"]
    rows = [header, ["---"] * len(header)]
    for name, values in scores.items():
        percent = [f"{100 * values[column]:.2f}" for column in (*COLUMNS, header[-1])]
        rows.append([name, str(values["samples"]), *percent])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_metrics(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes `report` as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n")


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
