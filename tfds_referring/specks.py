"""Specks: the dots that lossy compression leaves around a mask's target.

RRSIS-D's masks were stored as JPEG and read back as "grey above 0", so blocks of eight pixels
around an edge carry dots. The target itself is one region or a few large ones.
"""

from typing import Any

import numpy as np
from scipy import ndimage

SMALLEST_SHARE = 0.1
"""A region below this share of the largest one is a speck."""


def count(mask: np.ndarray) -> int:
    """Returns the number of specks.

    Args:
      mask: bool (height, width).

    Returns:
      Regions (pixels that share an edge) smaller than `SMALLEST_SHARE` of the largest one.
    """
    _, small = _regions(mask)
    return int(small.sum())


def remove(mask: np.ndarray) -> np.ndarray:
    """Returns the mask, bool (height, width), without its specks; the largest region stays."""
    labels, small = _regions(mask)
    return mask & ~np.concatenate([[False], small])[labels]


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the region of each pixel from 1, 0 for none, and which regions are specks."""
    regions: Any = ndimage.label(mask)  # scipy says that it may be a number
    labels, number = regions
    areas = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    return labels, areas < SMALLEST_SHARE * areas.max(initial=0)
