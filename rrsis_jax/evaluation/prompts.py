"""What a run's checkpoints predict of the training split, stored small for later stages.

    files = prompts.make("runs/coarse", "prompts")

One file a checkpoint, for `data.arrays.prompt`; see `data.stored_rows` for what is kept beside it.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data import run_data, stored_rows
from rrsis_jax.distributed import hosts, parallel
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.models import registry
from rrsis_jax.models.layers.multi_scale import pool_to
from rrsis_jax.types import Variables
from rrsis_jax.weights import trees
from rrsis_jax.weights.checkpoints import Checkpoints

SPLIT = "train"
STRIDE = 4  # pixels of an image a stored value
BYTE = 255  # that stands for a probability of 1


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Which predictions are good enough to be trained on.

    Attributes:
      iou: least intersection over union with the target.
      area: least share of the image that is predicted.
    """

    iou: float = 0.1
    area: float = 1e-4


def make(
    workdir: pathlib.Path | str,
    folder: pathlib.Path | str,
    steps: Sequence[int] = (),
    thresholds: Thresholds = Thresholds(),
) -> list[pathlib.Path]:
    """Writes one file for each checkpoint, unless it is there and made of the same.

    Args:
      workdir: the run's folder.
      folder: the files' folder, made if need be.
      steps: of the checkpoints; all that the run has kept by default.
      thresholds: predictions below one of them become rows of zeros, which stand for none.

    Returns:
      The files: uint8 (samples, ⌈size / 4⌉, ⌈size / 4⌉), mean probabilities of the target in 1/255.

    Raises:
      ValueError: if the folder holds no run or no such checkpoint, or the data are other ones.
    """
    run, target = pathlib.Path(workdir).absolute(), pathlib.Path(folder)
    config = run_folder.load(run)
    model = registry.build(config)
    data = run_data.open_data(config, run, model, SPLIT)
    evaluator = Evaluator(model, data)
    described = dataclasses.asdict(data.prepared.splits[SPLIT])
    saved = Checkpoints(run / constants.CHECKPOINTS_FOLDER, read_only=True)
    files = []
    try:
        for step in steps or saved.steps():
            variables = saved.restore_variables(step)
            made_of = {
                "data": described,
                "variables": trees.digest(variables),
                "thresholds": dataclasses.asdict(thresholds),
            }
            files.append(target / f"prompt_{step}.npy")
            if stored_rows.is_made_of(files[-1], made_of):
                logging.info("%s is there already.", files[-1])
                continue
            rows = _rows(evaluator, parallel.replicate(variables), thresholds)
            if hosts.is_lead():
                target.mkdir(parents=True, exist_ok=True)
                stored_rows.save(files[-1], rows, made_of)
            usable = int(rows.any(axis=(1, 2)).sum())
            logging.info("%s: %d of %d predictions are usable.", files[-1], usable, len(rows))
    finally:
        saved.close()
    return files


def _rows(evaluator: Evaluator, variables: Variables, thresholds: Thresholds) -> np.ndarray:
    """Returns uint8 (n, side, side) of the whole split, in its order."""
    side = -(-evaluator.model.inputs().target_size // STRIDE)
    rows = np.zeros((evaluator.data.num_samples(SPLIT), side, side), np.uint8)
    for places, log_odds, targets in evaluator.log_odds(variables, SPLIT):
        small = _small(log_odds, side)
        for place, row, margin, target in zip(places, small, log_odds, targets, strict=True):
            if _is_good(margin > 0, target > 0, thresholds):
                rows[place] = row
    return rows


def _is_good(mask: np.ndarray, target: np.ndarray, thresholds: Thresholds) -> bool:
    union = np.sum(mask | target)
    iou = np.sum(mask & target) / union if union else 0.0
    return bool(iou >= thresholds.iou and np.mean(mask) >= thresholds.area)


def _small(log_odds: np.ndarray, side: int) -> np.ndarray:
    """Returns uint8 (b, side, side), the mean probability of the pixels below each value."""
    probability = jax.nn.sigmoid(jnp.asarray(log_odds))[..., None]
    return np.rint(BYTE * np.asarray(pool_to(probability, side, side))[..., 0]).astype(np.uint8)
