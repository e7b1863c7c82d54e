"""Pictures of predictions, spread over a split."""

import pathlib

import numpy as np

from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.types import Variables
from rrsis_jax.visualization.figures import prediction_figure, save, to_array

PICTURES_FOLDER = "pictures"


def picture_arrays(
    evaluator: Evaluator, variables: Variables, split: str, count: int
) -> np.ndarray:
    """Draws predictions of samples spread evenly over a split: uint8 (n, H, W, 3)."""
    predictions = evaluator.predictions(variables, split, evaluator.spread(split, count))
    figures = [prediction_figure(p.image, p.target, p.mask, p.phrase) for p in predictions]
    return np.stack([to_array(figure) for figure in figures])


def write_pictures(folder: pathlib.Path, split: str, pictures: np.ndarray) -> None:
    """Writes pictures as `pictures/<split>_<k>.png` under the run's folder."""
    (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
    for k, picture in enumerate(pictures):
        save(picture, folder / PICTURES_FOLDER / f"{split}_{k:02d}.png")
