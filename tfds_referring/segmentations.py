"""COCO's `segmentation` in all its forms to one mask.

The parts of a list are united. REFER's loaders add them up and keep where the sum is 1, so that
overlapping parts vanish; the peers that read polygons keep where it is above 0, as here.
"""

import functools
from typing import Any

import numpy as np

from tfds_referring import polygons, run_length
from tfds_referring.run_length import SegmentationError


def decode(segmentation: Any, shape: tuple[int, int]) -> np.ndarray:
    """Returns the mask of a segmentation.

    Args:
      segmentation: a run-length encoding, a list of them, a polygon as a flat list, a list of
        polygons, or one of these written as a Python literal.
      shape: (height, width) of the image.

    Returns:
      bool (height, width).

    Raises:
      SegmentationError: it is none of these, is empty, or does not fit the image.
    """
    if isinstance(segmentation, str):
        segmentation = run_length.from_literal(segmentation)
    if isinstance(segmentation, dict):
        return run_length.decode(segmentation, shape)
    if not isinstance(segmentation, list):
        raise SegmentationError(
            f"has a segmentation of type {type(segmentation).__name__}; expected a run-length "
            "encoding or polygons"
        )
    if not segmentation:
        raise SegmentationError("has an empty segmentation; expected a run-length or polygons")
    if all(isinstance(part, dict) for part in segmentation):
        masks = [run_length.decode(part, shape) for part in segmentation]
        return functools.reduce(np.logical_or, masks)
    if all(isinstance(part, list) for part in segmentation):
        return polygons.fill(segmentation, shape)
    return polygons.fill([segmentation], shape)
