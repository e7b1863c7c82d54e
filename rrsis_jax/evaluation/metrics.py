"""The field's metrics: intersections and unions per sample first, quotients last.

oIoU = ΣI / ΣU over the split, mIoU = mean of I/U over its samples, P@X = share of samples with
I/U ≥ X. "gIoU" is used for either of the first two in the literature and therefore avoided here.
"""

from typing import TYPE_CHECKING

import numpy as np

# Thresholds X of P@X, the share of samples whose IoU reaches X.
PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


if TYPE_CHECKING:
    import jax  # commands that read tables only need not wait for it

# What a sample scores whose target and prediction are both empty, by protocol. `paper`: masks and
# predictions at the evaluation's image size, as in the field's tables. `native`: the logits
# resized to the mask's own size.
EMPTY_SCORES = {"paper": 0.0, "native": 1.0}

LEGEND = {
    "oIoU": "overall IoU: all intersections of the split over all its unions, in pixels",
    "mIoU": "mean IoU: the mean of the samples' own IoU",
    **{
        f"P@{x}": f"precision at {x}: the share of samples whose IoU is {x} or more"
        for x in PRECISION_THRESHOLDS
    },
    "mIoU, phrases shuffled": "mean IoU when samples carry each other's phrases: the language "
    "check; near the mean IoU, the model does not listen",
    "none, phrases absent": "the share of phrases that name nothing in their image and got an "
    "empty mask",
}


def intersection_and_union(
    prediction: "jax.Array", target: "jax.Array"
) -> "tuple[jax.Array, jax.Array]":
    """Counts the pixels of I and U for each sample.

    Args:
      prediction: (B, H, W), nonzero where the mask is predicted.
      target: (B, H, W), nonzero where the referred objects are.

    Returns:
      Two int32 (B,) arrays.
    """
    prediction, target = prediction > 0, target > 0
    axes = tuple(range(1, prediction.ndim))
    intersection = (prediction & target).sum(axis=axes, dtype=np.int32)
    union = (prediction | target).sum(axis=axes, dtype=np.int32)
    return intersection, union


def sample_iou(intersection: np.ndarray, union: np.ndarray, empty_score: float = 0.0) -> np.ndarray:
    """Returns I/U of each sample as float64 (n,).

    Args:
      intersection: (n,) pixel counts.
      union: (n,) pixel counts.
      empty_score: the value of a sample whose target and prediction are both empty, see
        `EMPTY_SCORES`.
    """
    intersection = np.asarray(intersection, np.float64)
    union = np.asarray(union, np.float64)
    return np.where(union > 0, intersection / np.maximum(union, 1.0), empty_score)


def summarize(
    intersection: np.ndarray, union: np.ndarray, empty_score: float = 0.0
) -> dict[str, float]:
    """Turns counts into the field's metrics.

    Args:
      intersection: (n,) pixel counts per sample.
      union: (n,) pixel counts per sample.
      empty_score: see `sample_iou`.

    Returns:
      `oIoU`, `mIoU` and `P@0.5` … `P@0.9`, each in [0, 1], and `samples`, the count n.

    Raises:
      ValueError: if there is no sample.
    """
    if len(intersection) == 0:
        raise ValueError("No sample was evaluated; metrics of an empty split are undefined.")
    iou = sample_iou(intersection, union, empty_score)
    total_union = int(np.sum(union, dtype=np.int64))
    overall = np.sum(intersection, dtype=np.int64) / total_union if total_union else empty_score
    precision = {f"P@{x}": float(np.mean(iou >= x)) for x in PRECISION_THRESHOLDS}
    return {"oIoU": float(overall), "mIoU": float(np.mean(iou)), **precision, "samples": len(iou)}
