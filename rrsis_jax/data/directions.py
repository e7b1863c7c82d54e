"""Direction words of a phrase, and what becomes of them when its image is mirrored or turned.

"the upper left building" names another building in a mirrored image unless it becomes "the upper
right building". Words that point within the image plane are exchanged; phrases that hold a word
whose new direction has no name, like "turning left", cannot be mapped.
"""

import dataclasses
import functools
import re

from rrsis_jax.data.geometry import Geometry, Vector

RIGHT, UP, LEFT, DOWN = (1, 0), (0, 1), (-1, 0), (0, -1)


@dataclasses.dataclass(frozen=True)
class Style:
    """One manner of naming directions.

    Attributes:
      names: the words for right, up, left, down.
      joints: what may stand between the vertical and the horizontal word of a diagonal; empty if
        the style has no diagonals.
      stem: words of which only the last part of a diagonal carries the ending: "north-eastern".
    """

    names: tuple[str, str, str, str]
    joints: tuple[str, ...] = ()
    stem: tuple[str, str, str, str] | None = None

    def name(self, vector: Vector, joint: str) -> str:
        """Returns the words for a direction; a diagonal's parts are joined by `joint`."""
        right, up = vector
        words = dict(zip((RIGHT, UP, LEFT, DOWN), self.names, strict=True))
        if not (right and up):
            return words[vector]
        stem = dict(zip((RIGHT, UP, LEFT, DOWN), self.stem or self.names, strict=True))
        return stem[(0, up)] + joint + words[(right, 0)]

    def forms(self) -> dict[str, tuple[Vector, str]]:
        """Returns {words: (direction, joint)} of everything that the style can name."""
        vectors = {self.name(vector, ""): (vector, "") for vector in (RIGHT, UP, LEFT, DOWN)}
        diagonals = [(right, up) for right in (-1, 1) for up in (-1, 1)]
        for joint in self.joints:
            vectors |= {self.name(vector, joint): (vector, joint) for vector in diagonals}
        return vectors


_COMPASS = ("east", "north", "west", "south")


def _compass(ending: str) -> Style:
    east, north, west, south = (point + ending for point in _COMPASS)
    return Style((east, north, west, south), joints=("", "-", " "), stem=_COMPASS)


# Where two styles share a word ("left"), the earlier one decides.
_STYLES = (
    Style(("to the right of", "above", "to the left of", "below")),
    Style(("right", "top", "left", "bottom"), joints=(" ", "-")),
    Style(("right", "upper", "left", "lower"), joints=(" ", "-")),
    Style(("rightmost", "topmost", "leftmost", "bottommost")),
    Style(("rightmost", "uppermost", "leftmost", "lowermost")),
    Style(("right-hand", "top", "left-hand", "bottom")),
    *(_compass(ending) for ending in ("", "ern", "ernmost", "bound", "ward", "wards")),
)

# In an image's frame "to the left of" is a place; between two things it is a relation.
_OF_THE_IMAGE = r"(?!\s+the\s+(?:image|picture|scene|photo|frame|tile)\b)"
# Words that look like directions and are none in the image plane.
_NO_DIRECTION = (
    r"on top of",
    r"right[ -]angled?",
    r"right (?:next to|beside|behind|by|at|in the (?:middle|cent(?:er|re)))",
)
# Their meaning depends on a heading or a handedness, which no word of the phrase gives.
_UNMAPPABLE = (
    r"(?:anti-?|counter-?)?clockwise",
    r"turn(?:s|ed|ing)? (?:left|right)",
    r"(?:left|right)[ -]turn(?:ing|s)?",
    r"(?:up|down|diagonal|diagonally)(?:wards?)?",
)
# "on the right of the road" is beside it or on its right half; turned upwards, no words say which.
_PART = r"(?: side| end| half| part| edge)?"
_SIDE_OF = re.compile(
    rf"(?<!\bto the )(?<!\bon )\b(?:left|right|top|bottom){_PART} of{_OF_THE_IMAGE}", re.IGNORECASE
)
_LINES = {"horizontal": "vertical", "vertical": "horizontal"}


@functools.cache
def _table() -> dict[str, tuple[Style, Vector, str]]:
    table: dict[str, tuple[Style, Vector, str]] = {}
    for style in _STYLES:
        for words, (vector, joint) in style.forms().items():
            table.setdefault(words, (style, vector, joint))
    return table


@functools.cache
def _pattern() -> re.Pattern[str]:
    words = "|".join(
        re.escape(form) + (_OF_THE_IMAGE if form.endswith(" of") else "")
        for form in sorted(_table(), key=len, reverse=True)
    )
    return re.compile(
        rf"\b(?:(?P<none>{'|'.join(_NO_DIRECTION)})|(?P<unmappable>{'|'.join(_UNMAPPABLE)})"
        rf"|(?P<line>horizontal|vertical)(?=(?:ly)?\b)|(?P<words>{words}))(?:\b|(?=ly\b))",
        re.IGNORECASE,
    )


def has_direction(phrase: str) -> bool:
    """Returns whether a phrase speaks of a direction within the image plane."""
    return any(match.lastgroup != "none" for match in _pattern().finditer(phrase))


def map_phrase(phrase: str, geometry: Geometry) -> str | None:
    """Returns the phrase that names the same objects in the moved image.

    Args:
      phrase: a referring expression in English.
      geometry: what is done to the image.

    Returns:
      The phrase with its direction words exchanged; None if one of them cannot be.
    """
    if geometry == Geometry():
        return phrase
    if any(match["unmappable"] for match in _pattern().finditer(phrase)):
        return None
    if geometry.turns % 2 and _SIDE_OF.search(phrase):
        return None
    return _pattern().sub(functools.partial(_exchange, geometry=geometry), phrase)


def _exchange(match: re.Match[str], geometry: Geometry) -> str:
    old = match[0]
    if match["none"]:
        return old
    if match["line"]:
        new = _LINES[old.lower()] if geometry.turns % 2 else old
    else:
        style, vector, joint = _table()[old.lower()]
        new = style.name(geometry.direct(vector), joint)
    return new.capitalize() if old[0].isupper() else new.lower()
