"""Paired image and mask operations on the host, equal to the reference's PIL calls."""

import numpy as np
from PIL import Image


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 (H, W, 3) to (size, size, 3), bilinear with PIL's antialiasing."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 (H, W) to (size, size) by the nearest pixel."""
    if mask.shape == (size, size):
        return mask
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


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
