"""Image and mask files to arrays, or to one sentence that says what is wrong with them."""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageOps

from tfds_referring import foreground

_GREY = ("L", "I", "I;16", "I;16B", "I;16L", "I;16N")
_LOSSLESS_RGB = ("RGB", "L", "P")


class PixelError(ValueError):
    """A file that cannot be used; the message says why and what to do."""


def _decode(file: pathlib.Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as image:
                pages = getattr(image, "n_frames", 1)
                if pages > 1:
                    raise PixelError(f"has {pages} pages; keep one per file")
                image.load()
                return ImageOps.exif_transpose(image)  # as it was drawn on
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
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
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


def read_mask(file: pathlib.Path, rule: str | None = None) -> np.ndarray:
    """Reads a mask file.

    Args:
      file: see `read_values`.
      rule: which pixels are the target, see `foreground.rule`; None for those above 50, where the
        mask's values leave no doubt about it.

    Returns:
      uint8 array (height, width, 1) of 0 and 1.

    Raises:
      PixelError: the file cannot be used, see `read_values`, or its values are in doubt.
    """
    values = read_values(file)
    if rule is None and foreground.in_doubt(levels := foreground.different(values)):
        raise PixelError(
            f"holds the values {', '.join(map(str, levels))}, which may be ids; say which pixels "
            f"are the target with foreground: {foreground.HELP}"
        )
    return foreground.select(values, rule or foreground.ABOVE_50).astype(np.uint8)[..., None]


def read_values(file: pathlib.Path) -> np.ndarray:
    """Reads the grey values of a mask file.

    Palette, RGB, LA and RGBA files are grey where their colours are: all channels agree, and an
    alpha channel is opaque or says the same as the grey.

    Args:
      file: an image file of one page with 1, 8, 16 or 32 bits.

    Returns:
      int32 array (height, width) of values of at least 0; 1-bit files hold 0 and 255.

    Raises:
      PixelError: the file cannot be decoded, or is not grey.
    """
    mask = _decode(file)
    if mask.mode == "1":
        mask = mask.convert("L")
    if mask.mode in _GREY:
        values = np.asarray(mask).astype(np.int32)
        if values.min() < 0:
            raise PixelError(f"holds the negative value {values.min()}; write ids from 0 on")
        return values
    if mask.mode in ("P", "PA"):
        mask = mask.convert("RGBA" if mask.mode == "PA" or "transparency" in mask.info else "RGB")
    if mask.mode not in ("LA", "RGB", "RGBA"):
        raise PixelError(f"has mode {mask.mode}; expected one grey band; convert it")
    bands = np.asarray(mask).astype(np.int32)
    colours, alpha = (bands, 255) if mask.mode == "RGB" else (bands[..., :-1], bands[..., -1])
    grey = colours[..., 0]
    if (colours != grey[..., None]).any():
        raise PixelError(
            "has colours, not grey values; expected "
            "one band in which every value means one thing; write the classes as numbers"
        )
    if not (np.all(alpha == 255) or np.all(alpha == grey)):
        raise PixelError(
            "has transparent pixels that say something else than its grey values; keep one band"
        )
    return grey


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
