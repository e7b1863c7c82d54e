"""Plain images, read and written."""

import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rrsis_jax import io

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")  # read as plain images
_WANTED = "Expected an image of uint8 (H, W, 3) or (H, W, 4), a PIL image or a path"
_EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")


class UnfitError(ValueError):
    """A whole image whose pixels have no form of 8 bits."""


def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a plain image, turned upright as its EXIF orientation says.

    Returns:
      uint8 (H, W, 3), and bool (H, W), False where it is transparent altogether.

    Raises:
      ValueError: if the file does not exist, is not an image, or has more than 8 bits a channel.
    """
    if not path.is_file():
        raise ValueError(f"There is no image {path}.")
    try:
        with Image.open(path) as image:
            return _layers(image, str(path))
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        if isinstance(error, UnfitError):
            raise
        raise ValueError(f"{path} cannot be read as an image: {error}.") from error


def take(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """Takes an image in any of the forms that people hold one in.

    Args:
      image: a path, a PIL image, or whole numbers from 0 to 255, (H, W, 3) or with transparency
        (H, W, 4), in an array of NumPy, JAX or another library, or in lists.

    Returns:
      As `read`.

    Raises:
      ValueError: if it is none of these.
    """
    if isinstance(image, str | os.PathLike):
        return read(pathlib.Path(image))
    if isinstance(image, Image.Image):
        return _layers(image, "The image")
    try:
        values = np.asarray(image)
    except Exception as error:  # lists of unequal lengths, arrays of a device out of reach
        raise ValueError(f"{_WANTED}, got {type(image).__name__}: {error}.") from error
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{_WANTED}, got {type(image).__name__}.")
    fits = values.ndim == 3 and values.shape[2] in (3, 4) and values.size
    if not fits or values.dtype.kind == "f" or values.min() < 0 or values.max() > 255:
        span = f" from {values.min():g} to {values.max():g}" if values.size else ""
        raise ValueError(f"{_WANTED}, got {values.dtype} {values.shape}{span}.")
    values = values.astype(np.uint8)
    visible = values[..., 3] > 0 if values.shape[2] == 4 else np.ones(values.shape[:2], bool)
    return values[..., :3], visible


def write(picture: np.ndarray, path: pathlib.Path) -> None:
    """Writes uint8 (H, W) or (H, W, 3) as PNG, under its name only when it is complete."""
    with io.replacing(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")


def _layers(image: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `read` does of an opened image."""
    if image.mode not in _EIGHT_BIT_MODES:
        raise UnfitError(
            f"{name} has pixels of the kind {image.mode!r}, expected 8 bits a channel. "
            "Convert it, or save it as TIFF, which is stretched to 8 bits."
        )
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return np.asarray(upright.convert("RGB")), np.ones(upright.size[::-1], bool)
    values = np.asarray(upright.convert("RGBA"))
    return values[..., :3], values[..., 3] > 0
