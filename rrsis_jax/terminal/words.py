"""Durations, counts and curves in few characters."""

import itertools
import pathlib
import shlex
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float) -> str:
    """Returns a time such as "0:07", "12:40" or "3:04:05"."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def count(number: float) -> str:
    """Returns a large number in three digits, such as "1.53 M"."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def rate(number: float) -> str:
    """Returns a rate with a digit behind the point where it is small."""
    return f"{number:.1f}" if number < 100 else f"{number:.0f}"


def path(folder: pathlib.Path) -> str:
    """Returns a path as it is typed where the process is, ready for a shell."""
    here = pathlib.Path.cwd()
    near = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return shlex.quote(str(near))


def sparkline(values: Sequence[float], width: int) -> str:
    """Returns a curve of at most `width` characters, each the mean of as many values as fit.

    Args:
      values: finite numbers in their order.
      width: at least 1.
    """
    if not values:
        return ""
    values = list(values)
    groups = min(width, len(values))
    edges = [len(values) * k // groups for k in range(groups + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
