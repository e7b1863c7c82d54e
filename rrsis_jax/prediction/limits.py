"""What the settings of a prediction may be, on the command line and in Python alike."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from rrsis_jax.validators import Rule


def _number(words: str, fits: Callable[[float], bool]) -> Rule:
    def check(x: Any) -> bool:
        return _is_number(x) and math.isfinite(x) and fits(x)

    return Rule(words, check)


def _is_number(x: Any) -> bool:
    return isinstance(x, numbers.Real) and not isinstance(x, bool)


def _is_whole(x: Any) -> bool:
    return isinstance(x, numbers.Integral) and not isinstance(x, bool) and int(x) >= 1


def _are_bands(x: Any) -> bool:
    return isinstance(x, tuple | list) and len(x) == 3 and all(map(_is_whole, x))


def _are_percentiles(x: Any) -> bool:
    pair = isinstance(x, tuple | list) and len(x) == 2 and all(map(_is_number, x))
    return pair and 0 <= x[0] < x[1] <= 100


RULES: Mapping[str, Rule] = {
    "bands": Rule("three numbers of bands from 1, like 4,3,2", _are_bands),
    "batch_size": Rule("a whole number of at least 1", _is_whole),
    "gsd": _number("a number of metres a pixel above 0", lambda x: x > 0),
    "least_area": _number("a number of at least 0", lambda x: x >= 0),
    "nodata": _number("a number", lambda x: True),
    "overlap": _number("a fraction of a tile from 0 to 0.9", lambda x: 0 <= x <= 0.9),
    "stretch": Rule("two rising percentiles from 0 to 100, like 2,98", _are_percentiles),
    "threshold": _number("a probability of at least 0 and below 1", lambda x: 0 <= x < 1),
}


def check(name: str, value: Any, rule: str | None = None) -> None:
    """Refuses a setting that no prediction can have.

    Args:
      name: what the setting is called, for the message.
      value: of the setting.
      rule: the key of `RULES` to hold it against; `name` by default.

    Raises:
      ValueError: if it does not fit.
    """
    wanted = RULES[rule or name]
    if not wanted.fits(value):
        raise ValueError(f"{name} is {value!r:.60}; it must be {wanted.words}.")
