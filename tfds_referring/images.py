"""Image and mask files to arrays, or to one sentence that says what is wrong with them."""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image

FOREGROUND_ABOVE = 50
"""Mask pixels above this value are foreground (the RefSegRS authors' rule)."""

_LOSSLESS_RGB = ("RGB", "L", "P")


class PixelError(ValueError):
    """A file that cannot be used; the message says why and what to do."""


def _decode(file: pathlib.Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise PixelError(f"has {image.n_frames} pages; keep one per file")
                image.load()
                return image
        except PixelError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise PixelError(f"is too large to be a tile ({error}); cut it into tiles") from error
        except Exception as error:  # Pillow's plugins raise many types on damaged files
            raise PixelError(
                f"cannot be decoded ({type(error).__name__}: {error}); replace the file"
            ) from error


def read_image(file: pathlib.Path) -> np.ndarray:
    """Reads an image file.

    Grayscale and opaque palette images, and RGBA with a fully opaque alpha, are converted,
    because nothing is lost; anything else but 8-bit RGB is refused.

    Args:
      file: a file that Pillow can open.

    Returns:
      uint8 array (height, width, 3).

    Raises:
      PixelError: the file cannot be decoded, or has no lossless 8-bit RGB form.
    """
    image = _decode(file)
    if image.mode == "RGBA" and image.getextrema()[3] == (255, 255):
        image = image.convert("RGB")
    if image.mode not in _LOSSLESS_RGB or "transparency" in image.info:
        raise PixelError(
            f"has mode {image.mode}{_transparent(image)}; expected 8-bit RGB without "
            "transparency; convert it"
        )
    return np.asarray(image.convert("RGB"))


def _transparent(image: Image.Image) -> str:
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return " with transparent pixels" if transparent else ""


def read_mask(file: pathlib.Path) -> np.ndarray:
    """Reads a mask file.

    Args:
      file: a single-band 8-bit (foreground above 50) or 1-bit image file.

    Returns:
      uint8 array (height, width, 1) of 0 and 1.

    Raises:
      PixelError: the file cannot be decoded, is not single-band, or holds 0/1 instead of 0/255.
    """
    mask = _decode(file)
    if mask.mode not in ("L", "1"):
        raise PixelError(
            f"has mode {mask.mode} with bands {'+'.join(mask.getbands())}; expected one 8-bit "
            f"band, foreground above {FOREGROUND_ABOVE}; convert it"
        )
    values = np.asarray(mask.convert("L"))
    if values.max() == 1:
        raise PixelError(
            f"holds only 0 and 1, but foreground starts above {FOREGROUND_ABOVE}; "
            "write it as 0 and 255"
        )
    return (values > FOREGROUND_ABOVE).astype(np.uint8)[..., None]


def to_png(array: np.ndarray) -> bytes:
    """Encodes an array losslessly.

    Args:
      array: uint8 (height, width, 1 or 3).

    Returns:
      The bytes of a PNG file.
    """
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()
