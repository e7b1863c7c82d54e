"""Where everything that a command says goes: a terminal, plain lines, or the cell of a notebook.

  with screen.opened() as shown:
      shown.show("A sentence.")

While a screen is open, warnings of the log are sentences on it, libraries keep silent but for their
errors, and the bars of tqdm are drawn by it.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from rrsis_jax.terminal import records
from rrsis_jax.terminal.lines import Cell, Screen

_open: Screen | None = None


def current() -> Screen:
    """Returns the open screen, or plain lines where there is none."""
    return _open or Screen(sys.stderr)


@contextlib.contextmanager
def opened() -> Iterator[Screen]:
    """Opens a screen for the body, unless one is open; what fits the process is chosen."""
    global _open
    if _open is not None:
        yield _open
        return
    with contextlib.ExitStack() as stack:
        _open = _choose(stack)
        try:
            with _logged(_open):
                yield _open
        finally:
            shown, _open = _open, None
            shown.close()


def _choose(stack: contextlib.ExitStack) -> Screen:
    """Returns a screen; what it holds is left with `stack`."""
    if "ipykernel" in sys.modules:
        return Cell(sys.stdout)
    from rrsis_jax.terminal import bars, live  # slow: the help of a command does without

    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        screen = live.Terminal(stack.enter_context(_own(sys.stderr)))
    else:
        screen = Screen(sys.stderr)
    stack.enter_context(bars.adopted(screen))
    return screen


@contextlib.contextmanager
def _own(stream: TextIO) -> Iterator[TextIO]:
    """Yields a stream to the same place that stays there while `quiet.held` redirects the other."""
    own = os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding)
    try:
        yield own
    finally:
        with contextlib.suppress(OSError):  # of a terminal that is gone
            own.close()


@contextlib.contextmanager
def _logged(screen: Screen) -> Iterator[None]:
    """Shows the warnings of the log on a screen, and nothing else of it."""
    from absl import logging as absl_logging  # slow as well

    root, absl_logger = logging.getLogger(), absl_logging.get_absl_logger()
    verbosity, before = absl_logging.get_verbosity(), root.handlers[:]
    levels = {logger: logger.level for logger in (absl_logger, records.LOGGER)}
    for handler in before:
        # Libraries set these up for themselves; they would print every record once more.
        if handler is absl_logging.get_absl_handler() or type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    root.addHandler(records.Sentences(screen.warn))
    absl_logging.set_verbosity(absl_logging.INFO)
    records.LOGGER.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
        absl_logging.set_verbosity(verbosity)
        for logger, level in levels.items():
            logger.setLevel(level)
