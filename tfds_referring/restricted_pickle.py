"""Pickles of plain data, read without running anything that they name.

A pickle is a program for a small machine. Here the machine knows only the instructions that lists,
dicts, tuples, numbers and text need; importing and calling are known for the four names that numpy
scalars are written with, and these mean functions of this file. Python's own machine in Python is
driven, because its memory of objects is a dict: the one in C allocates whatever number it is told.
"""

import io
import pathlib
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

_OPCODES = (
    b"\x80", b"\x95", b".",  # protocol, frame, end
    b"(",  # mark
    b"]", b"l", b"a", b"e",  # lists
    b"}", b"d", b"s", b"u",  # dicts
    b")", b"t", b"\x85", b"\x86", b"\x87",  # tuples
    b"N", b"\x88", b"\x89",  # None, True, False
    b"I", b"J", b"K", b"M", b"L", b"\x8a", b"\x8b", b"F", b"G",  # numbers
    b"S", b"T", b"U", b"V", b"X", b"\x8c", b"\x8d",  # text
    b"B", b"C", b"\x8e",  # bytes
    b"p", b"q", b"r", b"g", b"h", b"j", b"\x94",  # memory
    b"c", b"\x93", b"R", b"b",  # import, call, state: see _Machine
)  # fmt: skip


class PickleError(ValueError):
    """A pickle that holds more than plain data, or is damaged; the message says which."""


def load(file: pathlib.Path) -> Any:
    """Reads a pickle of plain data.

    Text of Python 2 must be ASCII or UTF-8. Scalars of numpy become Python's.

    Args:
      file: written by `pickle` in any protocol, of Python 2 or 3.

    Returns:
      What it holds: lists, dicts, tuples, numbers, text, bytes, None.

    Raises:
      PickleError: it asks for anything else, or is damaged.
      OSError: it cannot be read.
    """
    content = file.read_bytes()
    try:
        return _Machine(io.BytesIO(content), encoding="utf-8").load()
    except PickleError as error:
        raise PickleError(f"{file.name} {error}") from error
    except Exception as error:  # damaged instructions fail in as many ways as the machine has
        raise PickleError(
            f"{file.name} is a damaged pickle ({type(error).__name__}: {error}); get the file again"
        ) from error


class _Name:
    """A name that a pickle may import, with the function of ours that it means."""

    def __init__(self, call: Callable[..., Any]):
        self.call = call


class _Type:
    """Stands in for numpy.dtype: kind and size of a scalar, then its byte order."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or (code not in _FORMATS and code[:1] != "U"):
            raise PickleError(f"holds numpy data of the type {code!r:.40}; expected plain numbers")
        self.code, self.order = code, "<"

    def set_state(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise PickleError(f"holds numpy data of the byte order {order!r:.40}")
        self.order = ">" if order == ">" else "<"

    def value(self, data: bytes) -> Any:
        if self.code.startswith("U"):
            return data.decode("utf-32-be" if self.order == ">" else "utf-32-le").rstrip("\0")
        return struct.unpack(self.order + _FORMATS[self.code], data)[0]


_FORMATS = {
    **{f"i{size}": code for size, code in zip((1, 2, 4, 8), "bhiq", strict=True)},
    **{f"u{size}": code for size, code in zip((1, 2, 4, 8), "BHIQ", strict=True)},
    **{f"f{size}": code for size, code in zip((2, 4, 8), "efd", strict=True)},
    "b1": "?",
}


def _scalar(kind: Any, data: Any) -> Any:
    if not isinstance(kind, _Type) or not isinstance(data, bytes):
        raise PickleError("holds a damaged numpy scalar; get the file again")
    return kind.value(data)


def _encode(text: Any, encoding: Any) -> bytes:
    """Stands in for _codecs.encode, by which protocols up to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleError("holds bytes in an unknown form")
    return text.encode("latin1")


_NAMES = {
    ("numpy.core.multiarray", "scalar"): _Name(_scalar),
    ("numpy._core.multiarray", "scalar"): _Name(_scalar),
    ("numpy", "dtype"): _Name(_Type),
    ("_codecs", "encode"): _Name(_encode),
}


def _refuse(code: int) -> Callable[[Any], None]:
    def refuse(machine: Any) -> None:
        raise PickleError(
            f"holds more than plain data (instruction {bytes([code])!r}); it may run code and is "
            "not read. Get the file from its authors again"
        )

    return refuse


class _Machine(pickle._Unpickler):
    """Python's machine with the instructions of `_OPCODES` alone."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        code: pickle._Unpickler.dispatch[code] if bytes([code]) in _OPCODES else _refuse(code)
        for code in range(256)
    }

    def find_class(self, module: str, name: str) -> _Name:
        """Returns what an imported name means, if it is one of the four."""
        known = _NAMES.get((module, name))
        if known is None:
            raise PickleError(
                f"asks for {module}.{name}".replace("\n", " ")[:200]
                + ", but plain data needs no import; it may run code and is not read. Get the file "
                "from its authors again"
            )
        return known

    def _call(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not _Name or type(arguments) is not tuple:
            raise PickleError("calls something that is no function")
        self.stack[-1] = function.call(*arguments)

    def _set_state(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) is not _Type or type(state) is not tuple:
            raise PickleError("sets the state of something that has none")
        self.stack[-1].set_state(state)

    dispatch[pickle.REDUCE[0]] = _call
    dispatch[pickle.BUILD[0]] = _set_state
