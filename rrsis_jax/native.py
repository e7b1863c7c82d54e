"""The `native` protocol's pixels, and predicted masks on disk: numpy on the host."""

import pathlib

import numpy as np
from PIL import Image

from rrsis_jax import outputs


def resize_margin(margin: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes a map of logit margins bilinearly, pixel centres on pixel centres.

    Resizing is linear, so the sign of the resized margin is the argmax of the resized logits.

    Args:
      margin: float32 (h, w), the target's logit minus the background's.
      shape: the wanted (H, W).

    Returns:
      float32 (H, W).
    """
    height, width = shape
    image = Image.fromarray(np.asarray(margin, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def intersection_and_union(prediction: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Counts the pixels of I and U of one sample, both masks (H, W) and nonzero inside."""
    prediction, target = prediction > 0, target > 0
    return int(np.sum(prediction & target)), int(np.sum(prediction | target))


def save(folder: pathlib.Path, index: int, prediction: np.ndarray, own: np.ndarray) -> None:
    """Writes the predicted masks of one sample as 1-bit PNG.

    Args:
      folder: where to; `mask_file` tells the names.
      index: place in the split.
      prediction: (h, w) at the evaluation's image size.
      own: (H, W) at the mask's own size; written if that is another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with outputs.replacing(mask_file(folder, index)) as partial:
        Image.fromarray(prediction > 0).save(partial)
    if own.shape != prediction.shape:
        with outputs.replacing(mask_file(folder, index, own=True)) as partial:
            Image.fromarray(own > 0).save(partial)


def mask_file(folder: pathlib.Path, index: int, own: bool = False) -> pathlib.Path:
    """Returns the file of a predicted mask.

    Args:
      folder: a split's predictions.
      index: place in the split.
      own: whether the one at the mask's own size is meant.
    """
    return folder / f"{index:05d}{'_native' if own else ''}.png"
