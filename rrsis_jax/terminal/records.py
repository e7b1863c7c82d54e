"""What becomes of log records: warnings are sentences on the screen, everything is in a file."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Callable, Iterator

FILE = "train.log"
"""The log of a run, inside its folder."""

LOGGER = logging.getLogger("rrsis_jax")
"""What is shown is told to this logger too, so that it is in the log of the run."""

# Libraries that give an account of every step they take. Of these, errors alone are for people.
_TALKATIVE = (
    "absl",
    "clu",
    "etils",
    "flax",
    "grain",
    "huggingface_hub",
    "orbax",
    "tensorflow",
    "tensorflow_datasets",
    "transformers",
)
_WARNINGS = "py.warnings"  # the logger that Python's own warnings are captured by


def is_chatter(record: logging.LogRecord) -> bool:
    """Returns whether a record is what a library tells of its own affairs, and no error."""
    if record.levelno >= logging.ERROR:
        return False
    named = record.name.partition(".")[0] in set(_TALKATIVE) - {"absl"}  # which is ours as well
    inside = any(f"{os.sep}{library}{os.sep}" in record.pathname for library in _TALKATIVE)
    return named or inside or record.name == _WARNINGS


class Sentences(logging.Handler):
    """Shows warnings and errors, each text once, without a header or a stack trace."""

    def __init__(self, show: Callable[[int, str], None], level: int = logging.WARNING):
        """Takes what shows a text of a level."""
        super().__init__(level)
        self._show, self._told = show, set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is for people."""
        return not is_chatter(record) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Shows the record's text, unless it was shown before."""
        text = record.getMessage()
        if text not in self._told:
            self._told.add(text)
            self._show(record.levelno, text)


class LogFile(logging.Handler):
    """Writes records with their times to a file, which may be named later than they come."""

    def __init__(self):
        """Keeps what comes until there is a file."""
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._pending: list[logging.LogRecord] = []
        self._path: pathlib.Path | None = None

    def begin(self, path: pathlib.Path) -> None:
        """Writes what came, and from now on what comes, at the end of a file.

        Raises:
          OSError: if it cannot be written.
        """
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{self.format(record)}\n" for record in self._pending)
        self._path, self._pending = path, []

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is worth a line; the notes of CLU's writers are the scalars."""
        scalars = f"{os.sep}clu{os.sep}" in record.pathname
        told = record.levelno >= logging.WARNING or scalars or not is_chatter(record)
        return told and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line; a file that takes no more is told of once, and the work goes on."""
        if self._path is None:
            self._pending.append(record)
            return
        path = self._path
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{self.format(record)}\n")
        except OSError as error:
            self._path, reason = None, error.strerror
            self.setLevel(logging.CRITICAL + 1)
            LOGGER.warning("%s takes no more lines: %s. The work goes on.", path, reason)


@contextlib.contextmanager
def collected(wanted: bool = True) -> Iterator[LogFile]:
    """Yields a log of the body, written from when it `begin`s; an idle one if not `wanted`."""
    log = LogFile()
    if wanted:
        logging.getLogger().addHandler(log)
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(log)
