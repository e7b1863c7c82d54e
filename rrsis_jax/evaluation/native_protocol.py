"""The `native` protocol's pixels: numpy on the host."""

import numpy as np


def intersection_and_union(prediction: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Counts the pixels of I and U of one sample, both masks (H, W) and nonzero inside."""
    prediction, target = prediction > 0, target > 0
    return int(np.sum(prediction & target)), int(np.sum(prediction | target))
