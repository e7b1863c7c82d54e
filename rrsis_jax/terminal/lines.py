"""Screens of lines: what files get, and the cell of a notebook. `live` has that of a terminal."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from rrsis_jax.terminal import records, words

Styled = Sequence[tuple[str, str]]
"""Pieces of a line with their styles, in the words of rich, such as "bold green"; "" for none."""

Drawing = Callable[[int], Styled]
"""Draws a line of at most so many characters."""

_SECONDS = 0.25  # between two drawings
_NAME = 11  # characters of a fact's name


class Screen:
    """Lines with the time, for files, pipes and the logs of clusters; no control characters.

    Attributes:
      redraws: whether a line can be drawn anew.
      only_errors: whether nothing else is shown, as on all hosts but one.
    """

    redraws = False

    def __init__(self, stream: TextIO):
        """Writes to a stream."""
        self._stream = stream
        self.only_errors = False

    def show(self, text: str, styled: Sequence[Styled] | None = None) -> None:
        """Shows something and logs it.

        Args:
          text: for files and the log.
          styled: the lines of the same for a terminal, where they differ; none to show none there.
        """
        records.LOGGER.info("%s", text)
        if not self.only_errors:
            self._write(text, [((text, ""),)] if styled is None else styled)

    def fact(self, name: str, value: str) -> None:
        """Shows a line of a header, such as "data  refsegrs/synthetic, 660 samples"."""
        self.show(f"{name}: {value}", [((name.ljust(_NAME), "dim"), (value, ""))])

    def commands(self, name: str, *lines: str) -> None:
        """Shows what to type next: the lines of one command, to be copied as they stand."""
        text = " \\\n  ".join(lines)
        shown = [
            ((" " * _NAME if k else name.ljust(_NAME), "dim"), (line, "cyan"))
            for k, line in enumerate(text.splitlines())
        ]
        self.show(f"{name}: {' '.join(lines)}", shown)

    def warn(self, level: int, text: str) -> None:
        """Shows a warning or an error of the log, which has it already."""
        if level >= logging.ERROR or not self.only_errors:
            name, style = ("Error", "red") if level >= logging.ERROR else ("Warning", "yellow")
            self._write(f"{name}: {text}", [((f"{name}: ", f"bold {style}"), (text, ""))])

    def result(self, text: str, draw: Callable[[int], Sequence[Styled]]) -> None:
        """Prints what a command was asked for to the standard output, and logs it.

        Args:
          text: for files and pipes.
          draw: returns the lines for a terminal of so many characters.
        """
        del draw
        records.LOGGER.info("%s", text)
        if not self.only_errors:
            print(text, flush=True)

    @contextlib.contextmanager
    def sticky(self, draw: Drawing) -> Iterator[None]:
        """Keeps a line in place during the body and draws it anew; only where that can be done."""
        del draw
        yield

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Shows how long the body has taken, which has nothing to count."""
        began = time.monotonic()

        def draw(width: int) -> Styled:
            del width
            return ((f"{what}  ", ""), (words.duration(time.monotonic() - began), "dim"))

        with self.sticky(draw):
            yield

    def touch(self) -> None:
        """Says that the sticky line has changed, where nothing looks at it by itself."""

    def add(self, bar: Any) -> None:
        """Shows a bar, see `bars.Board`."""

    def remove(self, bar: Any) -> None:
        """Shows it no more."""

    def tell(self, text: str) -> None:
        """Tells how far a bar is."""
        self.show(text)

    def close(self) -> None:
        """Leaves the terminal as it was."""

    def _write(self, text: str, styled: Sequence[Styled]) -> None:
        del styled
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._stream.write("".join(f"{now} {line}\n" for line in text.splitlines()))
        self._stream.flush()


class Cell(Screen):
    """The cell of a notebook: lines without the time, and one that is overwritten."""

    redraws = True

    def __init__(self, stream: TextIO):
        """Writes to a stream."""
        super().__init__(stream)
        self._draw: Drawing | None = None
        self._length, self._last = 0, 0.0

    @contextlib.contextmanager
    def sticky(self, draw: Drawing) -> Iterator[None]:
        """Keeps a line below all others during the body."""
        self._draw = draw
        try:
            yield
        finally:
            self._overwrite("")
            self._draw = None

    def touch(self) -> None:
        """Draws the line anew, four times a second at most."""
        if self._draw and not self.only_errors and time.monotonic() - self._last >= _SECONDS:
            self._overwrite("".join(text for text, _ in self._draw(100)))

    def _write(self, text: str, styled: Sequence[Styled]) -> None:
        del text
        self._overwrite("")
        for line in styled:
            self._stream.write("".join(piece for piece, _ in line) + "\n")
        self._stream.flush()

    def _overwrite(self, line: str) -> None:
        if line or self._length:
            self._stream.write(f"\r{line.ljust(self._length)}" if line else self._blank())
            self._stream.flush()
        self._length, self._last = len(line), time.monotonic()

    def _blank(self) -> str:
        return f"\r{' ' * self._length}\r"
