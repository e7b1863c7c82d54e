"""Where the time of a compiled program goes: its costliest operations, from a profile, as text."""

import collections
import math
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any

import jax
from jax.profiler import ProfileData

_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "s32": 4, "u32": 4}
_BYTES |= {"s16": 2, "u16": 2, "s8": 1, "u8": 1, "pred": 1}


def measure(call: Callable[[], Any], hlo: str, bandwidth: float, count: int = 10) -> list[dict]:
    """Profiles one call of a program.

    Args:
      call: runs the program and waits for its result; compiled before.
      hlo: the compiled program's text.
      bandwidth: of the device's memory in bytes a second, measured.
      count: how many operations.

    Returns:
      A row for each of the costliest operations, costliest first: its name, milliseconds, share of
      all operations, and the milliseconds that moving its operands and result would take.

    Raises:
      ValueError: if the backend's profile does not tell operations apart.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        seconds = operation_seconds(pathlib.Path(folder), set(sizes := operation_bytes(hlo)))
    total = sum(seconds.values())
    if not total:
        raise ValueError("The profile names none of the program's operations.")
    return [
        {
            "operation": name,
            "ms": 1e3 * taken,
            "share": taken / total,
            "MB": sizes[name] / 1e6,
            "bandwidth bound ms": 1e3 * sizes[name] / bandwidth,
        }
        for name, taken in seconds.most_common(count)
    ]


def operation_seconds(folder: pathlib.Path, names: set[str]) -> collections.Counter[str]:
    """Returns the seconds of each operation of `names` in the profiles below a folder."""
    seconds: collections.Counter[str] = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        for plane in ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    name = dict(event.stats).get("hlo_op", event.name)
                    if name in names:
                        seconds[name] += event.duration_ns / 1e9
    return seconds


def operation_bytes(hlo: str) -> dict[str, int]:
    """Returns what each operation of a compiled program's text reads and writes, in bytes."""
    results, operands = {}, {}
    for line in hlo.splitlines():
        match = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) [\w\-]+\((.*)", line)
        if match:
            name, kind, rest = match.groups()
            results[name] = _size(kind)
            operands[name] = re.findall(r"%([\w.\-]+)", rest.partition("),")[0])
    return {
        name: size + sum(results.get(operand, 0) for operand in operands[name])
        for name, size in results.items()
    }


def _size(kind: str) -> int:
    return sum(
        _BYTES.get(letters, 0) * math.prod(int(side) for side in sides.split(",") if side)
        for letters, sides in re.findall(r"(\w+)\[([\d,]*)\]", kind)
    )
