"""The bars of tqdm, ours and those of libraries, as lines of the screen.

Everyone who has something to count uses `tqdm.auto.tqdm`. While a screen is open, that name is
`Bar`: it draws nothing itself, the screen looks at it when it is drawn anew.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

import tqdm.auto
import tqdm.std

from rrsis_jax.terminal import words

_REPORT = 30.0  # seconds between lines of a bar where nothing can be redrawn
_SHORT = 2.0  # seconds below which the end of a bar is not worth a line


class Board(Protocol):
    """What bars are shown on."""

    redraws: bool

    def add(self, bar: "Bar") -> None:
        """Shows a bar from now on."""

    def remove(self, bar: "Bar") -> None:
        """Shows it no more."""

    def tell(self, text: str) -> None:
        """Tells how far a bar is where nothing can be redrawn."""


class Bar(tqdm.std.tqdm):
    """A bar of tqdm that the screen draws."""

    board: Board  # set by `adopted`

    def __init__(self, *arguments: Any, **named: Any):
        """Takes what tqdm takes."""
        if not self.board.redraws:
            named["mininterval"] = _REPORT
        super().__init__(*arguments, **{**named, "gui": True, "ascii": None})
        if not self.disable:
            self.board.add(self)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Tells how far the bar is, if the screen does not look at it by itself."""
        del msg, pos  # the screen finds its own words and place
        if not (self.board.redraws or self.disable):
            self.board.tell(self.words())
        return True

    def clear(self, *unused: Any, **unused_named: Any) -> None:
        """Leaves the screen alone: nothing was drawn on it."""

    def close(self) -> None:
        """Ends the bar."""
        if self.disable:
            return
        lasted = self.format_dict["elapsed"] >= _SHORT
        super().close()
        self.board.remove(self)
        if lasted and not self.board.redraws:
            self.board.tell(self.words())

    @property
    def name(self) -> str:
        """What is being done; libraries end it in dots or a colon, or name a file of theirs."""
        words_of_name = (word for word in self.desc.split() if os.sep not in word)
        return " ".join(words_of_name).rstrip(": .") or "working"

    def words(self) -> str:
        """Returns how far the bar is, as a line."""
        total = f" of {self.total}" if self.total else ""
        elapsed = words.duration(self.format_dict["elapsed"])
        return f"{self.name}: {self.n}{total} {self.unit.strip()} in {elapsed}"


@contextlib.contextmanager
def adopted(board: Board) -> Iterator[None]:
    """Draws all bars that are made in the body on `board`."""
    before = tqdm.auto.tqdm
    # Each board has a class of its own, because libraries keep the class.
    tqdm.auto.tqdm = type("Bar", (Bar,), {"board": board})
    try:
        yield
    finally:
        tqdm.auto.tqdm = before
