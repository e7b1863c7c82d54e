"""What a case of hostile or damaged input is, how it is judged, and how files are damaged.

A door makes cases: it writes files into a folder and says how they are read, what a refusal has to
name, and how a result is checked. The same seed makes the same cases.
"""

import dataclasses
import json
import pathlib
import shutil
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

SANDBOX = "inside"  # where a case may write, beside what it must not touch


class WrongResultError(Exception):
    """A door accepted what it had to refuse, or returned something else than it should."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One attempt.

    Attributes:
      label: what was done to the input.
      call: reads it.
      named: a refusal's message holds one of these: a file's name, or a key.
      check: raises `WrongResultError` for a result that is not right; None if the input must be
        refused.
      kinds: exceptions that the door documents.
    """

    label: str
    call: Callable[[], Any]
    named: tuple[str, ...]
    check: Callable[[Any], None] | None
    kinds: tuple[type[Exception], ...] = (ValueError,)


@dataclasses.dataclass(frozen=True)
class Door:
    """A way in.

    Attributes:
      name: of the door.
      prepare: makes what all its cases start from, in an empty folder; returns what `make` needs.
      make: writes case number k into an empty folder.
    """

    name: str
    prepare: Callable[[pathlib.Path], Any]
    make: Callable[[np.random.Generator, pathlib.Path, Any], Case]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a case ended: `refused`, `correct` or `failure`, with a line about it."""

    kind: str
    label: str
    detail: str


def attempt(door: Door, material: Any, seed: int, number: int, arena: pathlib.Path) -> Outcome:
    """Runs a case.

    Args:
      door: through which.
      material: what `door.prepare` returned.
      seed: of all cases.
      number: of this case.
      arena: a folder of the caller; only the sandbox in it may change.
    """
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(door.name.encode()), number]))
    sandbox = arena / SANDBOX
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir(parents=True)
    case = door.make(rng, sandbox, material)
    before = _listing(arena)
    kind, detail = _judge(case)
    stray = sorted(before.items() ^ _listing(arena).items())
    if stray:
        return Outcome("failure", case.label, f"wrote outside of its folder: {stray[:3]}")
    return Outcome(kind, case.label, detail)


def _judge(case: Case) -> tuple[str, str]:
    try:
        result = case.call()
        if case.check is None:
            raise WrongResultError(f"accepted, with {str(result)[:80]!r}")
        case.check(result)
    except WrongResultError as wrong:
        return "failure", str(wrong)
    except case.kinds as error:
        message = str(error)
        if len(message) > 20_000:
            return "failure", f"a message of {len(message)} characters"
        if not any(name in message for name in case.named):
            return "failure", f"names none of {case.named}: {type(error).__name__}: {message[:200]}"
        return "refused", message
    except BaseException as error:  # what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        return "failure", f"{type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
    return "correct", ""


def _listing(arena: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Returns size and time of all files of the arena outside the sandbox."""
    found = {}
    for path in arena.iterdir():
        if path.name != SANDBOX:
            for file in (path, *path.rglob("*")):
                stat = file.lstat()
                found[str(file)] = (stat.st_size, stat.st_mtime_ns)
    return found


# Damage


def damaged(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    """Returns what was done, and bytes that differ from `content`, as broken disks make them."""
    kind = rng.choice(["cut", "empty", "bits", "run", "insert", "remove", "swap", "noise", "tail"])
    changed = _damaged(rng, kind, content)
    if changed == content:
        kind, changed = "cut", content[: len(content) // 2]
    return str(kind), changed


def _damaged(rng: np.random.Generator, kind: str, content: bytes) -> bytes:
    size = len(content)
    at, length = int(rng.integers(size)), int(rng.integers(1, 33))
    match kind:
        case "cut":
            return content[:at]
        case "empty":
            return b""
        case "bits":
            changed = bytearray(content)
            # Half of the flips hit the first bytes, where formats keep what everything hangs on.
            reach = size if rng.random() < 0.5 else min(size, 256)
            for place in rng.integers(reach, size=int(rng.integers(1, 9))):
                changed[place] ^= 1 << int(rng.integers(8))
            return bytes(changed)
        case "run":
            return content[:at] + rng.bytes(min(length, size - at)) + content[at + length :]
        case "insert":
            return content[:at] + rng.bytes(length) + content[at:]
        case "remove":
            return content[:at] + content[at + length :]
        case "swap":
            return content[at:] + content[:at]
        case "noise":
            return rng.bytes(size)
        case _:
            return content + rng.bytes(length)


_VALUES = [None, True, 0, -1, 1.5, 10**30, float("nan"), "", "x", "\0", "../../x", [], [[]], {}]
_VALUES += [{"a": {"b": 1}}, "9" * 400, [1, 2, 3], "ж\u202e"]


def damaged_json(rng: np.random.Generator, text: str) -> tuple[str, bytes]:
    """Returns what was done, and the bytes of a JSON document of another meaning, or of none."""
    kind = rng.choice(["node", "key", "drop", "deep", "bytes", "other", "duplicate", "utf16"])
    value = json.loads(text)
    match kind:
        case "node" | "key" | "drop":
            parent, key = _place(rng, value)
            if kind == "node" or isinstance(parent, list):
                fresh = [v for v in _VALUES if v != parent[key]]
                parent[key] = fresh[rng.integers(len(fresh))]
                return f"{kind} {key}", json.dumps(value).encode()
            found = parent.pop(key)
            if kind == "key":
                parent["ghost"] = found
            return f"{kind} {key}", json.dumps(value).encode()
        case "deep":
            return "deep", b"[" * 100_000
        case "other":
            return "other", json.dumps(_VALUES[rng.integers(len(_VALUES))]).encode()
        case "duplicate":
            return "duplicate", (text.rstrip()[:-1] + ', "ghost": 1}').encode()
        case "utf16":
            return "utf16", text.encode("utf-16")
        case _:
            how, content = damaged(rng, text.encode())
            return f"bytes {how}", content


def _place(rng: np.random.Generator, value: Any) -> tuple[Any, Any]:
    """Returns a random container in a document and a key of it."""
    places, pending = [], [value]
    while pending:
        node = pending.pop()
        items = list(node.items() if isinstance(node, dict) else enumerate(node))
        places += [(node, key) for key, _ in items]
        pending += [child for _, child in items if isinstance(child, dict | list)]
    return places[rng.integers(len(places))]


def pick(rng: np.random.Generator, choices: list) -> Any:
    """Returns one of the choices, of any type."""
    return choices[rng.integers(len(choices))]


def expect(right: bool, words: str) -> None:
    """Raises `WrongResultError` if a result is not right."""
    if not right:
        raise WrongResultError(words)
