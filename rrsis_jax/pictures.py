"""Plain images in, and pictures of maps out: outlines, tints and a legend for people to look at."""

import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rrsis_jax import outputs

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")  # read as plain images

# Okabe and Ito's colours, which people with any colour vision can tell apart, light ones first
# because aerial images are dark.
_COLOURS = ((240, 228, 66), (86, 180, 233), (230, 159, 0), (204, 121, 167), (0, 158, 115))
_COLOURS += ((213, 94, 0), (0, 114, 178))
_EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")
_TINT = 0.3  # of the colour, inside an outline
_LEAST_SIDE = 900  # pictures of smaller images are enlarged so far
_FONT = pathlib.Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


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
    with outputs.replacing(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG")


def captions(expressions: Sequence[str], shares: Sequence[float]) -> list[str]:
    """Returns a line of the legend for each expression and the share of the image it covers."""
    pairs = zip(expressions, shares, strict=True)
    return [f"{text}   {100 * share:.1f} % of the image" for text, share in pairs]


def draw_map(image: np.ndarray, masks: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Draws masks over an image, with outlines, and a legend below.

    Args:
      image: uint8 (H, W, 3).
      masks: bool (H, W) each.
      captions: a line of the legend for each mask.

    Returns:
      uint8 (H', W', 3); a small image is enlarged by a whole factor.
    """
    factor = max(1, _LEAST_SIDE // max(image.shape[:2]))
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    width = max(2, max(enlarged.shape[:2]) // 600)
    outlines = []
    for number, mask in enumerate(masks):
        large = mask.repeat(factor, axis=0).repeat(factor, axis=1)
        colour = np.asarray(_colour(number), np.float32)
        tinted = (1 - _TINT) * enlarged[large] + _TINT * colour
        enlarged[large] = tinted.astype(np.uint8)
        outlines.append(_outline(large, width))
    for number, outline in enumerate(outlines):  # over all tints
        enlarged[outline] = _colour(number)
    return np.concatenate([enlarged, _legend(enlarged.shape[1], captions)])


def _colour(number: int) -> tuple[int, int, int]:
    return _COLOURS[number % len(_COLOURS)]


def _outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Returns bool (H, W): the pixels of a mask that are at most `width` from its outside."""
    inside = mask.copy()
    for _ in range(width):
        padded = np.pad(inside, 1, mode="edge")  # the picture's border is no outline
        inside = inside & padded[:-2, 1:-1] & padded[2:, 1:-1]
        inside &= padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _legend(width: int, captions: Sequence[str]) -> np.ndarray:
    """Returns uint8 (h, width, 3): a swatch and a caption a line, shortened to fit."""
    size = min(28, max(15, width // 60))
    line = round(1.6 * size)
    font = ImageFont.truetype(str(_FONT), size)
    canvas = Image.new("RGB", (width, line * len(captions) + size), "white")
    draw = ImageDraw.Draw(canvas)
    for number, caption in enumerate(captions):
        top = size // 2 + number * line
        box = (
            size // 2,
            top + line // 2 - size // 2,
            size // 2 + size,
            top + line // 2 + size // 2,
        )
        draw.rectangle(box, fill=_colour(number), outline="black")
        left = 2 * size
        text = _shortened(caption, width - left - size // 2, font)
        draw.text((left, top + line // 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    kept = text
    while kept and font.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept}…"
