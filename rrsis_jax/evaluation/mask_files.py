"""Predicted masks on disk."""

import pathlib

import numpy as np
from PIL import Image

from rrsis_jax import io


def save(folder: pathlib.Path, index: int, prediction: np.ndarray, own: np.ndarray) -> None:
    """Writes the predicted masks of one sample as 1-bit PNG.

    Args:
      folder: where to, which exists; `mask_file` tells the names.
      index: place in the split.
      prediction: (h, w) at the evaluation's image size.
      own: (H, W) at the mask's own size; written if that is another one.
    """
    with io.replacing(mask_file(folder, index)) as partial:
        Image.fromarray(prediction > 0).save(partial)
    if own.shape != prediction.shape:
        with io.replacing(mask_file(folder, index, own=True)) as partial:
            Image.fromarray(own > 0).save(partial)


def mask_file(folder: pathlib.Path, index: int, own: bool = False) -> pathlib.Path:
    """Returns the file of a predicted mask.

    Args:
      folder: a split's predictions.
      index: place in the split.
      own: whether the one at the mask's own size is meant.
    """
    return folder / f"{index:05d}{'_native' if own else ''}.png"


def masks_folder(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Returns where a run keeps a split's predicted masks."""
    return folder / f"predictions_{split}"
