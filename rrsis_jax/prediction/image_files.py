"""Plain images, read and written."""

import pathlib

import numpy as np
from PIL import Image

from rrsis_jax import io

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")  # read as plain images
_EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")


class UnfitError(ValueError):
    """A whole image whose pixels have no form of 8 bits."""


def read(path: pathlib.Path) -> np.ndarray:
    """Reads a plain image as uint8 (H, W, 3); transparency is dropped.

    Raises:
      ValueError: if the file does not exist, is not an image, or has more than 8 bits a channel.
    """
    if not path.is_file():
        raise ValueError(f"There is no image {path}.")
    try:
        with Image.open(path) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise UnfitError(
                    f"{path} has pixels of the kind {image.mode!r}, expected 8 bits a channel. "
                    "Convert it, or save it as TIFF, which is stretched to 8 bits."
                )
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plugins raise many types on damaged files
        if isinstance(error, UnfitError):
            raise
        raise ValueError(f"{path} cannot be read as an image: {error}.") from error


def write(picture: np.ndarray, path: pathlib.Path) -> None:
    """Writes uint8 (H, W) or (H, W, 3) as PNG, under its name only when it is complete."""
    with io.replacing(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")
