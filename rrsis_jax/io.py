"""Files that are whole or not there: written under a hidden name first, read with clear errors."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path to write to; what was written there takes the place of `path` at the end.

    If writing fails or is interrupted, what was written is removed and `path` is as it was.

    Args:
      path: the file to make or replace.

    Yields:
      A hidden path beside it, with the same suffix.
    """
    partial = path.with_name(f".{path.name}")
    with _named(partial, path):
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(partial: pathlib.Path, path: pathlib.Path) -> Iterator[None]:
    """Names in faults the path that was asked for, not the hidden one or none."""
    try:
        yield
    except OSError as error:
        told = str(partial if error.filename is None else error.filename)
        if error.errno is not None and told.startswith(str(partial)):
            error.filename = str(path) + told.removeprefix(str(partial))
            error.filename2 = None
        raise


@contextlib.contextmanager
def replacing_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new folder to fill, which becomes `path` at the end; see `replacing`.

    Args:
      path: the folder to make; if it exists, it is empty.

    Yields:
      A hidden folder beside it, which exists.
    """
    partial = path.with_name(f".{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _named(partial, path):
            partial.mkdir(parents=True)
            yield partial
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file of UTF-8 text as `replacing` does."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(folder: pathlib.Path) -> None:
    """Refuses a folder that is a file, lies below one, or may not be written to; makes nothing.

    Raises:
      OSError: naming the part of the path that is in the way.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
      ValueError: if it cannot be read or holds something else; the message names the file.
    """
    if not path.is_file():  # a device or pipe would be read without end
        raise ValueError(f"{path} is no file.")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable JSON file: {error}.") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds a JSON {type(document).__name__}, expected an object.")
    return document
