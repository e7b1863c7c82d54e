"""What a run's checkpoints predict of the training split, stored small for later stages.

One file a checkpoint, in a folder for `data.arrays.prompt`; see `data.stored_rows` for what is kept
beside it. The command is `rrsis-prompts`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

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

    iou: float
    area: float


@dataclasses.dataclass(frozen=True)
class PromptFile:
    """What one checkpoint predicts.

    Attributes:
      path: the file.
      usable: bool (samples,), which predictions are good enough.
      made: whether it was made now; False where it was there.
    """

    path: pathlib.Path
    usable: np.ndarray
    made: bool


def make(
    workdir: pathlib.Path | str,
    folder: pathlib.Path | str,
    thresholds: Thresholds,
    steps: Sequence[int] = (),
) -> list[PromptFile]:
    """Writes one file for each checkpoint, unless it is there and made of the same.

    A file is uint8 (samples, ⌈size / 4⌉, ⌈size / 4⌉), mean probabilities of the target in 1/255.

    Args:
      workdir: the run's folder.
      folder: the files' folder, made if need be.
      thresholds: predictions below one of them become rows of zeros, which stand for none.
      steps: of the checkpoints; all that the run has kept by default.

    Raises:
      ValueError: if the folder holds no run or no such checkpoint, a checkpoint is damaged, or the
        data are other ones.
    """
    run, target = pathlib.Path(workdir).absolute(), pathlib.Path(folder)
    config = run_folder.load(run)
    model = registry.build(config)
    data = run_data.open_data(config, run, model, SPLIT)
    evaluator = Evaluator(model, data)
    files = []
    with contextlib.closing(_checkpoints(run)) as saved:
        for step in _chosen(saved, steps):
            variables = saved.restore_variables(step)
            made_of = {
                "data": data.described(SPLIT),
                "variables": trees.digest(variables),
                "thresholds": dataclasses.asdict(thresholds),
            }
            path = target / f"prompt_{step}.npy"
            there = stored_rows.is_made_of(path, made_of)
            if there:
                rows = np.load(path, mmap_mode="r", allow_pickle=False)
            else:
                rows = _rows(evaluator, parallel.replicate(variables), thresholds)
                if hosts.is_lead():
                    target.mkdir(parents=True, exist_ok=True)
                    stored_rows.save(path, rows, made_of)
            files.append(PromptFile(path, np.any(rows, axis=(1, 2)), not there))
    return files


def _checkpoints(run: pathlib.Path) -> Checkpoints:
    return Checkpoints(run / constants.CHECKPOINTS_FOLDER, read_only=True)


def _chosen(saved: Checkpoints, steps: Sequence[int]) -> Sequence[int]:
    there = saved.steps()
    absent = sorted(set(steps) - set(there))
    if absent:
        raise ValueError(
            f"{saved.directory} holds no checkpoint of step {', '.join(map(str, absent))}; it has "
            f"{', '.join(map(str, there))}. Choose among these with --steps."
        )
    return steps or there


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
