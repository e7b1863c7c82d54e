"""Masks drawn over images: tints, outlines, and a map with a legend."""

import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PREDICTION_COLOUR = (0.95, 0.15, 0.85)  # unlike roofs, roads and vegetation
OUTLINE_COLOUR = (0.20, 0.95, 0.95)  # seen on red, on vegetation and on asphalt


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    colour: tuple[float, float, float],
    strength: float = 0.5,
) -> np.ndarray:
    """Tints the masked pixels of an image.

    Args:
      image: uint8 (H, W, 3).
      mask: (H, W), nonzero where to tint.
      colour: RGB in [0, 1].
      strength: share of the colour in the result.

    Returns:
      uint8 (H, W, 3).
    """
    added = 255 * strength * np.asarray(colour, np.float32).reshape(1, 1, 3)
    tinted = (1 - strength) * image.astype(np.float32) + added
    return np.where(mask[..., None] > 0, tinted, image).astype(np.uint8)


def outline(mask: np.ndarray, width: int = 2) -> np.ndarray:
    """Returns the inner border of a mask: bool (H, W), at most `width` pixels wide.

    Args:
      mask: (H, W), nonzero inside.
      width: in pixels.
    """
    inside = mask > 0
    core = inside
    for _ in range(width):
        padded = np.pad(core, 1, constant_values=True)  # the picture's edge is no border
        core = core & padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return inside & ~core


def paint(image: np.ndarray, mask: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Covers the masked pixels of an image with a colour.

    Args:
      image: uint8 (H, W, 3).
      mask: (H, W), nonzero where to paint.
      colour: RGB in [0, 1].

    Returns:
      uint8 (H, W, 3).
    """
    return np.where(mask[..., None] > 0, np.asarray(colour) * 255, image).astype(np.uint8)


# Okabe and Ito's colours, which people with any colour vision can tell apart, light ones first
# because aerial images are dark.
_COLOURS = ((240, 228, 66), (86, 180, 233), (230, 159, 0), (204, 121, 167), (0, 158, 115))
_COLOURS += ((213, 94, 0), (0, 114, 178))
_TINT = 0.3  # of the colour, inside an outline
_LEAST_SIDE = 900  # pictures of smaller images are enlarged so far


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
    large = [mask.repeat(factor, axis=0).repeat(factor, axis=1) for mask in masks]
    for number, mask in enumerate(large):
        enlarged = overlay(enlarged, mask, _colour(number), _TINT)
    for number, mask in enumerate(large):  # over all tints
        enlarged = paint(enlarged, outline(mask, width), _colour(number))
    return np.concatenate([enlarged, _legend(enlarged.shape[1], captions)])


def _colour(number: int) -> tuple[float, float, float]:
    red, green, blue = _COLOURS[number % len(_COLOURS)]
    return red / 255, green / 255, blue / 255


def _legend(width: int, captions: Sequence[str]) -> np.ndarray:
    """Returns uint8 (h, width, 3): a swatch and a caption a line, shortened to fit."""
    size = min(28, max(15, width // 60))
    line = round(1.6 * size)
    font = _font(size)
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
        draw.rectangle(box, fill=_COLOURS[number % len(_COLOURS)], outline="black")
        left = 2 * size
        text = _shortened(caption, width - left - size // 2, font)
        draw.text((left, top + line // 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(canvas)


def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl  # slow, and wanted for its font only

    folder = pathlib.Path(mpl.get_data_path())
    return ImageFont.truetype(str(folder / "fonts/ttf/DejaVuSans.ttf"), size)


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    start = text
    while start and font.getlength(f"{start}…") > width:
        start = start[:-1]
    return f"{start}…"
