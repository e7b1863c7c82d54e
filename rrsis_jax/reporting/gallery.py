"""The gallery of a report: which samples it shows, and their pictures."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rrsis_jax.visualization import overlays

SIDE = 192  # of a picture's panels, in pixels
GAP = 4  # between them
_QUALITY = 82


def choose(iou: np.ndarray, wrong: np.ndarray, count: int) -> dict[str, list[int]]:
    """Picks the samples that tell most about a model.

    Args:
      iou: (n,) scores of the samples.
      wrong: (n,) share of the image's pixels where prediction and target disagree.
      count: how many to pick for each title.

    Returns:
      Places in the arrays by title: best, median, worst, largest disagreement. Ties go to the
      sample that comes first.
    """
    rising = np.argsort(iou, kind="stable")
    middle = max(0, (len(rising) - count) // 2)
    return {
        "Best": np.argsort(-iou, kind="stable")[:count].tolist(),
        "Median": rising[middle : middle + count].tolist(),
        "Worst": rising[:count].tolist(),
        "Largest disagreement": np.argsort(-wrong, kind="stable")[:count].tolist(),
    }


def picture(image: np.ndarray, target: np.ndarray, predictions: Sequence[np.ndarray]) -> str:
    """Draws the image, and beside it the target's outline over each prediction.

    Args:
      image: uint8 (H, W, 3).
      target: (h, w), nonzero on the referred objects; any size.
      predictions: masks of any size, one a run.

    Returns:
      A data URI of a JPEG, panels of `SIDE` pixels in a row.
    """
    base = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    edge = overlays.outline(_fit(target))
    gap = np.full((SIDE, GAP, 3), 128, np.uint8)
    panels = [base]
    for prediction in predictions:
        panels.append(gap)
        tinted = overlays.overlay(base, _fit(prediction), overlays.PREDICTION_COLOUR)
        panels.append(overlays.paint(tinted, edge, overlays.OUTLINE_COLOUR))
    file = io.BytesIO()
    Image.fromarray(np.concatenate(panels, axis=1)).save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _fit(mask: np.ndarray) -> np.ndarray:
    small = Image.fromarray((mask > 0).astype(np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.NEAREST))
