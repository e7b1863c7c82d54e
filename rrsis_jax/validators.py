"""What a value of a configuration may be: a rule, in words and as a function."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from rrsis_jax import hub_address


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value has to be.

    Attributes:
      words: it in words.
      fits: whether a value is that.
      free: whether it may differ between the parts of an interrupted run, as it does not change
        the result.
    """

    words: str
    fits: Callable[[Any], bool]
    free: bool = False


def free(rule: Rule) -> Rule:
    """Returns the same rule for a key that does not change a run's result."""
    return dataclasses.replace(rule, free=True)


def whole(least: int, most: int = 10**9) -> Rule:
    """Returns the rule of whole numbers within limits."""
    limits = f"of at least {least}" if most == 10**9 else f"from {least} to {most}"
    return Rule(f"a whole number {limits}", lambda x: type(x) is int and least <= x <= most)


def number(words: str, fits: Callable[[float], bool]) -> Rule:
    """Returns the rule of finite numbers that fit, as `words` say."""

    def check(x: Any) -> bool:
        return type(x) in (int, float) and math.isfinite(x) and abs(x) < 1e9 and fits(x)

    return Rule(f"a number {words}", check)


def tuple_of(of: Rule, length: int | None = None) -> Rule:
    """Returns the rule of a tuple or list of so many values, or any number, that each fit `of`."""

    def check(x: Any) -> bool:
        listed = isinstance(x, tuple | list)
        return listed and length in (None, len(x)) and all(map(of.fits, x))

    return Rule(f"{length or 'any number of'} times {of.words}", check)


def one_of(*values: str) -> Rule:
    """Returns the rule of a choice."""
    return Rule(f"one of {', '.join(values)}", lambda x: x in values)


def _names_weights(text: Any) -> bool:
    """Tells whether a text may name weights: a path, or a whole address on the hub."""
    if not isinstance(text, str) or not text.isprintable() or not text.strip():
        return False
    return not hub_address.is_address(text) or hub_address.is_valid(text)


TEXT = Rule("text without control characters", lambda x: isinstance(x, str) and x.isprintable())
WEIGHTS = Rule(f"a file, a folder, a run or {hub_address.FORM}", _names_weights)
FLAG = Rule("True or False", lambda x: isinstance(x, bool))
POSITIVE = number("above 0", lambda x: x > 0)
FROM_ZERO = number("of at least 0", lambda x: x >= 0)
DTYPE = one_of("float32", "bfloat16", "float64")  # of `model.dtype`; see `layers.precision`
SHARE = number("from 0 to 1", lambda x: 0 <= x <= 1)
RATE = number("of at least 0 and below 1", lambda x: 0 <= x < 1)
COUNT = whole(1)
MANY = whole(0)
