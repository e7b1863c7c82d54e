"""Polygons to masks exactly as COCO draws them: the only module that uses pycocotools.

Drawing with another library gives other pixels (Pillow: median IoU 0.96 on shapes of 8 to 60
pixels), so the field's own one is used. It is an extra, because RRSIS-D, RISBench and RefSegRS do
not need it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfds_referring import run_length
from tfds_referring.run_length import MAX_PIXELS, SegmentationError


def fill(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> np.ndarray:
    """Returns the union of polygons.

    Args:
      polygons: each a flat list x, y, x, y, … in pixels, of at least three corners.
      shape: (height, width) of the mask.

    Returns:
      bool (height, width).

    Raises:
      SegmentationError: a polygon is none, or pycocotools is not installed.
    """
    for polygon in polygons:
        _check(polygon, shape)
    try:
        from pycocotools import mask
    except ImportError as error:
        raise SegmentationError(
            'is a polygon, which needs pycocotools: pip install "rrsis-jax[coco]"'
        ) from error
    corners: Any = [list(map(float, polygon)) for polygon in polygons]  # its annotations are wrong
    encoded = mask.frPyObjects(corners, *shape)
    return run_length.decode(mask.merge(encoded), shape)  # its own decoder warns under numpy 2


def _check(polygon: Any, shape: tuple[int, int]) -> None:
    """Refuses what pycocotools would draw as something else, or crash on."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise SegmentationError(
            "has a polygon that is no flat list x, y, … of three corners or more"
        )
    if not all(type(x) in (int, float) and math.isfinite(x) for x in polygon):
        raise SegmentationError("has a polygon whose corners are not all finite numbers")
    height, width = shape
    if not 0 < height * width <= MAX_PIXELS:
        raise SegmentationError(f"has {height * width} pixels; expected 1 to {MAX_PIXELS}")
    reach = 2 * max(height, width)
    if not all(-reach <= x <= 2 * reach for x in polygon):
        raise SegmentationError(f"has a polygon far outside its image of {width}x{height} pixels")
