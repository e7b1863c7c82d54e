"""Which pixels of a mask are the target: the rule, and the masks that leave it in doubt."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

ABOVE_50 = "above 50"
NONZERO = "nonzero"
HELP = f"{ABOVE_50!r}, {NONZERO!r} or one value, like 7"

_BLACK = 50  # grey values up to this one are background to the RefSegRS authors
_BRIGHT = 200  # the least maximum of a black-and-white mask with soft or lossy edges
_LISTED = 5  # sets of values, files and values in a message
_ADVICE = (
    f"say which pixels are the target: the builder's option `foreground` is {HELP} "
    "(--config.data.foreground=nonzero in training, --foreground nonzero in the audit)"
)


def rule(value: str | int) -> str:
    """Returns a rule in its one spelling.

    Args:
      value: "above 50", the rule of the RefSegRS authors; "nonzero"; or the one value of the
        target's pixels, like 7 or "7".

    Raises:
      ValueError: it is none of these.
    """
    text = str(value).strip()
    if text in (ABOVE_50, NONZERO):
        return text
    if re.fullmatch(r"\d{1,5}", text, re.ASCII):
        return str(int(text))
    raise ValueError(f"foreground is {value!r}; expected {HELP}")


def select(values: np.ndarray, chosen: str) -> np.ndarray:
    """Returns the target's pixels.

    Args:
      values: int32 (height, width), the grey values of a mask.
      chosen: a rule, as `rule` returns it.

    Returns:
      bool (height, width).
    """
    if chosen == ABOVE_50:
        return values > _BLACK
    if chosen == NONZERO:
        return values != 0
    return values == int(chosen)


def in_doubt(values: Iterable[int]) -> bool:
    """Tells whether a mask's values may be ids, of which "above 50" would take the wrong ones.

    Values from 1 to 50 are what soft or lossy edges leave beside black, and ids of classes or
    instances too. Edges come with several values on their way up to white; ids do not, and 255
    beside them usually means "ignore".

    Args:
      values: the different values of the mask.
    """
    levels = set(values)
    dark = any(0 < value <= _BLACK for value in levels)
    rising = [value for value in levels if _BLACK < value < max(levels)]
    return dark and not (max(levels) >= _BRIGHT and len(rising) > 1)


class Census:
    """The values of a folder's masks, to say what is wrong with them as a whole."""

    def __init__(self, chosen: str | None):
        """Starts with no mask; `chosen` is a rule, or None where the masks have to be clear."""
        self._chosen = chosen
        self._names: dict[tuple[int, ...], list[str]] = collections.defaultdict(list)
        self._shares: dict[str, list[float]] = collections.defaultdict(list)

    def add(self, split: str, name: str, values: np.ndarray) -> None:
        """Counts a mask's values, int32 (height, width)."""
        self._names[different(values)].append(name)
        target = select(values, self._chosen or ABOVE_50)
        self._shares[split].append(float(target.mean()))

    def problems(self) -> list[str]:
        """Returns a sentence on masks in doubt, turned inside out, or without any target."""
        if self._chosen is None:
            doubtful = {values: names for values, names in self._names.items() if in_doubt(values)}
            if doubtful:
                return [f"masks whose target is unclear, with {_listing(doubtful)}; {_ADVICE}"]
            shares = [share for part in self._shares.values() for share in part]
            large = sum(share > 0.5 for share in shares)
            if large > 0.75 * len(shares):
                return [
                    f"more than half of the image is target in {large} of {len(shares)} masks, as "
                    "where black and white are exchanged (then: foreground 0); if that is right, "
                    f"{_ADVICE}"
                ]
        train = self._shares.get("train", [])
        if train and not any(train):
            return [
                f"no mask of the training split has a pixel of the target, by the rule "
                f"{self._chosen or ABOVE_50!r}; found were {_listing(self._names)}; {_ADVICE}"
            ]
        return []


def different(values: np.ndarray) -> tuple[int, ...]:
    """Returns the different values of a mask, from small to large."""
    if values.size and values.max() < 2**16:  # many times faster than sorting them
        return tuple(np.flatnonzero(np.bincount(values.ravel())).tolist())
    return tuple(np.unique(values).tolist())


def _listing(names: Mapping[tuple[int, ...], Sequence[str]]) -> str:
    shown = [
        f"{'values' if len(values) > 1 else 'the value'} {_short(values, len(values))} in "
        f"{_short(files, len(files))}"
        for values, files in list(names.items())[:_LISTED]
    ]
    rest = len(names) - len(shown)
    return "; ".join(shown) + (f"; and {rest} other sets of values" if rest else "")


def _short(items: Sequence[object], count: int) -> str:
    text = ", ".join(map(str, items[:_LISTED]))
    return text + (f" and {count - _LISTED} more" if count > _LISTED else "")
