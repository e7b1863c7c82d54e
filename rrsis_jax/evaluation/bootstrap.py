"""Bootstrap intervals of oIoU and mIoU: how much they would vary over other images like these.

Whole images are drawn, with all their samples: phrases about one image succeed or fail together,
and drawing them one by one would make the intervals too narrow.
"""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_BLOCK = 100  # resamples drawn at a time, which bounds the memory


def resample(
    intersection: np.ndarray,
    union: np.ndarray,
    iou: np.ndarray,
    images: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    empty_score: float = 0.0,
) -> dict[str, np.ndarray]:
    """Draws as many images as there are, with replacement, again and again.

    Equal `images`, `seed` and `resamples` give equal draws, so that the results of two models on
    the same samples may be subtracted: a paired bootstrap.

    Args:
      intersection: (n,) pixel counts.
      union: (n,) pixel counts.
      iou: (n,) scores of the samples.
      images: (n,) which image each sample is about.
      seed: of the draws.
      resamples: how many.
      empty_score: oIoU of a resample without any union, as in `metrics.summarize`.

    Returns:
      `oIoU` and `mIoU`, float64 (resamples,) each.

    Raises:
      ValueError: if there is no sample.
    """
    if len(images) == 0:
        raise ValueError("No sample was evaluated; an empty split has no intervals.")
    _, image_of = np.unique(np.asarray(images), return_inverse=True)
    count = int(image_of.max()) + 1
    columns = (intersection, union, iou, np.ones(len(iou)))
    # (images, 4): what each image adds to ΣI, ΣU, ΣIoU and n
    sums = np.stack([np.bincount(image_of, weights=c, minlength=count) for c in columns], axis=1)
    rng = np.random.Generator(np.random.Philox(key=[seed, count]))
    totals = []
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        totals.append(rng.multinomial(count, np.full(count, 1 / count), size) @ sums)
    shared, joined, score, number = np.concatenate(totals).T
    overall = np.full(resamples, float(empty_score))
    np.divide(shared, joined, out=overall, where=joined > 0)
    return {"oIoU": overall, "mIoU": score / number}


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Returns the central interval that holds `level` of the values."""
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
