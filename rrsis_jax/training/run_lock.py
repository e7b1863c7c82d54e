"""One training at a time in a run's folder.

The lock is the operating system's (`flock`): it ends with its process, however that ends, so a run
that was killed can go on at once. The file says who holds it; it stays, empty, after the run.
"""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import IO

from absl import logging

FILE = "train.lock"


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
    """Holds the lock of a run's folder for the body; the folder is made if need be.

    Raises:
      ValueError: naming process, host and time if another training holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a+", encoding="utf-8") as file:
        _lock(file, fcntl.LOCK_EX, folder)
        if before := _holder(file):
            logging.warning("The lock of %s is taken over; it was left by %s.", folder, before)
        since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        _write(file, json.dumps({"host": platform.node(), "process": os.getpid(), "since": since}))
        try:
            yield
        finally:
            _write(file, "")


def check_free(folder: pathlib.Path) -> None:
    """Refuses a folder in which a training runs now; changes nothing.

    Raises:
      ValueError: see `held`.
    """
    path = folder / FILE
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            _lock(file, fcntl.LOCK_SH, folder)


def _lock(file: IO[str], kind: int, folder: pathlib.Path) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"{folder} is in use: {_holder(file) or 'another process'} is training there. Stop it "
            "or wait for its end, or choose another --workdir."
        ) from error
    except OSError as error:  # some network file systems have no locks
        logging.warning(
            "The file system of %s cannot lock files (%s), so a second training in this folder "
            "would not be noticed: see to it that there is none.",
            folder,
            error.strerror,
        )


def _holder(file: IO[str]) -> str:
    """Returns who wrote the file last, in words; "" if it was released."""
    file.seek(0)
    text = file.read()
    if not text:
        return ""
    try:
        return "process {process} on host {host} (since {since})".format(**json.loads(text))
    except (ValueError, KeyError, TypeError):  # killed while it wrote its name
        return "a process without a name"


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    try:
        file.write(text)
        file.flush()
    except OSError as error:
        error.filename = file.name  # for the message
        raise
