"""A terminal of the few control sequences that our programs use; any other one fails."""

import re

_SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b(.)", re.DOTALL)
MARK = "\x07"  # the bell: the screen is photographed


class Emulator:
    """A screen that is fed with what a program writes.

    Attributes:
      photographs: the screen at each `MARK`, without colours.
      hidden: whether the cursor is.
      styled: whether colours are on.
    """

    def __init__(self, columns: int):
        self.columns = columns
        self.photographs: list[str] = []
        self.hidden = self.styled = self.was_styled = False
        self._lines, self._row, self._column = [""], 0, 0

    def feed(self, text: str) -> "Emulator":
        """Writes text with control sequences."""
        position = 0
        while position < len(text):
            found = _SEQUENCE.match(text, position)
            if found:
                self._control(*found.groups())
                position = found.end()
            else:
                self._character(text[position])
                position += 1
        return self

    def text(self) -> str:
        """Returns the whole screen, with what has scrolled out of it."""
        return "\n".join(line.rstrip() for line in self._lines).rstrip("\n")

    def _control(self, private: str, numbers: str, kind: str, other: str) -> None:
        assert other is None, f"ESC {other!r}"
        if private:
            assert (numbers, kind) in (("25", "l"), ("25", "h"))
            self.hidden = kind == "l"
        elif kind == "m":
            self.styled = numbers not in ("", "0")
            self.was_styled |= self.styled
        elif kind == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif kind == "K":
            assert numbers == "2"
            self._lines[self._row] = ""
        else:
            raise AssertionError(f"ESC [ {numbers} {kind}")

    def _character(self, character: str) -> None:
        if character == MARK:
            self.photographs.append(self.text())
        elif character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        else:
            assert character >= " ", repr(character)
            if self._column == self.columns:
                self._down()
                self._column = 0
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append("")
