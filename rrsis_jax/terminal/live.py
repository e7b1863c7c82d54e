"""A terminal: lines above, and below them what is under way, drawn four times a second at most.

Rich draws from a thread of its own, from numbers that are there anyway. The cursor is never hidden
and every line ends in the terminal's own colours, so that nothing is left behind by a process that
is killed.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from rrsis_jax.terminal import bars, records, words
from rrsis_jax.terminal.lines import Drawing, Screen, Styled

_REFRESH = 4.0  # a second
_WIDEST = 40  # characters of a bar


class Terminal(Screen):
    """A terminal with its width, colours (but for NO_COLOR) and lines that can be drawn anew."""

    redraws = True

    def __init__(self, stream: TextIO):
        """Draws on a stream that is a terminal."""
        super().__init__(stream)
        self._console = _Console(
            file=cast(IO[str], _Lasting(stream)), force_terminal=True, highlight=False
        )
        self._bars: list[bars.Bar] = []
        self._drawings: list[Drawing] = []
        self._live: Live | None = None

    def result(self, text: str, draw: Callable[[int], Sequence[Styled]]) -> None:
        """Prints a result; see `Screen.result`."""
        if self.only_errors or not sys.stdout.isatty():
            super().result(text, draw)
            return
        records.LOGGER.info("%s", text)
        self._write(text, draw(self._console.width))

    @contextlib.contextmanager
    def sticky(self, draw: Drawing) -> Iterator[None]:
        """Keeps a line below all others during the body."""
        self._drawings.append(draw)
        self._start_or_stop()
        try:
            yield
        finally:
            self._drawings.remove(draw)
            self._start_or_stop()

    def add(self, bar: bars.Bar) -> None:
        """Shows a bar below the lines."""
        self._bars.append(bar)
        self._start_or_stop()

    def remove(self, bar: bars.Bar) -> None:
        """Shows it no more; the log has how far it came."""
        if bar in self._bars:
            self._bars.remove(bar)
        self._start_or_stop()
        records.LOGGER.info("%s", bar.words())

    def refresh(self) -> None:
        """Draws what is under way at once."""
        if self._live:
            self._live.refresh()

    def close(self) -> None:
        """Takes away what was under way."""
        self._bars.clear()
        self._drawings.clear()
        self._start_or_stop()

    def _write(self, text: str, styled: Sequence[Styled]) -> None:
        del text
        for line in styled:
            self._console.print(_text(line))

    def _start_or_stop(self) -> None:
        wanted = bool(self._bars or self._drawings) and not self.only_errors
        if wanted and self._live is None:
            self._live = Live(
                console=self._console,
                refresh_per_second=_REFRESH,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
                get_renderable=self._under_way,
            )
            self._live.start(refresh=True)
        elif not wanted and self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _under_way(self) -> Group:
        width = self._console.width
        lines = [bar_line(bar, width) for bar in self._bars[:]]
        lines += [draw(width) for draw in self._drawings[:]]
        return Group(*(_text(line, one_line=True) for line in lines))


def bar_line(bar: bars.Bar, width: int) -> Styled:
    """Returns a bar as a line: name, bar, count, elapsed and remaining time.

    Args:
      bar: it may be changed by another thread at any time.
      width: of the terminal, in characters.
    """
    n, total = bar.n, bar.total
    elapsed = bar.format_dict["elapsed"]
    size = f"{n:g}/{total:g}" if total else f"{n:g}" if n else ""
    size = f"  {size} {bar.unit.strip()}" if size else ""
    times = f"  {words.duration(elapsed)}"
    if total and 0 < n < total:
        times += f"  {words.duration(elapsed / n * (total - n))} left"
    room = width - len(bar.name) - len(size) - len(times) - 2
    drawn = gauge(n / total, min(room, _WIDEST)) if total and room >= 8 else ()
    return ((bar.name, ""), ("  " if drawn else "", ""), *drawn, (size, "cyan"), (times, "dim"))


def gauge(share: float, width: int) -> Styled:
    """Returns a horizontal bar of `width` characters, filled to a share of it."""
    full = round(max(0.0, min(1.0, share)) * width)
    return (("━" * full, "green"), ("─" * (width - full), "dim"))


def _text(styled: Styled, one_line: bool = False) -> Text:
    wrapping = {"no_wrap": True, "overflow": "ellipsis"} if one_line else {}
    return Text.assemble(*styled, **wrapping)


class _Console(Console):
    """A console that leaves the cursor visible."""

    def show_cursor(self, show: bool = True) -> bool:
        """Changes nothing."""
        del show
        return False


class _Lasting:
    """A stream to a terminal that may be closed before the work is done, which goes on."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):  # the terminal is gone; the log of the run is not
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()
