"""Pictures of samples and predictions, with the phrase above."""

import math
import pathlib
import textwrap
from collections.abc import Sequence

import matplotlib.figure
import numpy as np
from matplotlib.backends import backend_agg
from PIL import Image

from rrsis_jax.visualization import overlays

_TARGET_COLOUR = (0.10, 0.75, 0.25)


def sample_grid(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    phrases: Sequence[str],
    columns: int = 4,
) -> matplotlib.figure.Figure:
    """Draws samples in a grid: each image with its mask tinted and outlined, its phrase above.

    Args:
      images: uint8 (H, W, 3) each.
      masks: (H, W) or (H, W, 1) each, nonzero where meant or predicted.
      phrases: the referring expressions.
      columns: samples in a row.

    Raises:
      ValueError: if there is no sample, or the three differ in length.
    """
    if not len(images) or not len(images) == len(masks) == len(phrases):
        raise ValueError(
            f"Got {len(images)} image(s), {len(masks)} mask(s) and {len(phrases)} phrase(s); "
            "expected equally many, and at least one."
        )
    rows = math.ceil(len(images) / columns)
    figure = matplotlib.figure.Figure(figsize=(2.6 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, mask, phrase in zip(axes, images, masks, phrases, strict=False):
        mask = mask.reshape(image.shape[:2])
        tinted = overlays.overlay(image, mask, overlays.PREDICTION_COLOUR)
        axis.imshow(
            overlays.paint(tinted, overlays.outline(mask, width=1), overlays.PREDICTION_COLOUR)
        )
        axis.set_title(textwrap.fill(phrase, 28), fontsize=9)
    return figure


def prediction_figure(
    image: np.ndarray, target: np.ndarray, prediction: np.ndarray, phrase: str
) -> matplotlib.figure.Figure:
    """Draws image, target and prediction side by side under the phrase and the IoU.

    Args:
      image: uint8 (H, W, 3).
      target: (H, W), nonzero on the referred objects.
      prediction: (H, W), nonzero where predicted.
      phrase: the referring expression.
    """
    union = np.count_nonzero((target > 0) | (prediction > 0))
    shared = np.count_nonzero((target > 0) & (prediction > 0))
    iou = shared / union if union else 0.0
    figure = matplotlib.figure.Figure(figsize=(9, 3.4), layout="constrained")
    panels = {
        "image": image,
        "target": overlays.overlay(image, target, _TARGET_COLOUR),
        "prediction": overlays.overlay(image, prediction, overlays.PREDICTION_COLOUR),
    }
    for axis, (title, panel) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axis.imshow(panel)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    figure.suptitle(f"“{phrase}”   IoU {iou:.2f}", fontsize=11)
    return figure


def to_array(figure: matplotlib.figure.Figure) -> np.ndarray:
    """Renders a figure to uint8 (H, W, 3)."""
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(picture: np.ndarray, path: pathlib.Path) -> None:
    """Writes uint8 (H, W, 3) as PNG."""
    Image.fromarray(picture).save(path)
