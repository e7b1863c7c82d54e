"""Prepared copies of datasets on disk: what each was made from, and which nothing reads."""

import contextlib
import dataclasses
import datetime
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence

from tensorflow_datasets.core import constants as tfds_constants

from tfds_referring import packages

READ_FROM = "Read from "  # begins the description of a config with a folder

CURRENT = "current"
OLD = "old"
GONE = "folder gone"
UNFINISHED = "unfinished"
STATES = {
    CURRENT: "the next start reads it",
    OLD: "made of a folder that has changed since, or by another version of the builder",
    GONE: "the folder that it was made of is not there now, so it cannot be made again",
    UNFINISHED: "left by a preparation that was killed, or is still going on",
}
"""What a copy can be."""


@dataclasses.dataclass(frozen=True)
class Copy:
    """A prepared copy.

    Attributes:
      path: its folder.
      name: its path below the folder that was searched.
      state: one of `STATES`.
      made: when it was made.
      source: the folder that it was made of; "" if it was none, or is not known.
    """

    path: pathlib.Path
    name: str
    state: str
    made: datetime.datetime
    source: str

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def prepared_folders(data_dir: pathlib.Path, dataset: str) -> list[pathlib.Path]:
    """Returns the folders `<dataset>/<config>/<version>` below TFDS's folder, by version and name.

    TFRecord and array_record copies may stand apart.
    """
    folders = (path for path in data_dir.glob(f"**/{dataset}/*/*") if path.is_dir())
    return sorted(folders, key=lambda path: (path.name, path))


def is_whole(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds a copy that was prepared to its end."""
    unfinished = folder.name.startswith(tfds_constants.INCOMPLETE_PREFIX)
    return not unfinished and (folder / "dataset_info.json").is_file()


def find(data_dir: pathlib.Path, datasets: Iterable[str] | None = None) -> list[Copy]:
    """Returns all copies below TFDS's folder of prepared datasets.

    Args:
      data_dir: TFDS's folder.
      datasets: names of those that count; None for all that are installed.
    """
    copies = []
    for dataset in packages.names() if datasets is None else datasets:
        for path in prepared_folders(data_dir, dataset):
            with contextlib.suppress(FileNotFoundError):  # another process just finished it
                copies.append(_describe(path, data_dir))
    return copies


def remove(copies: Sequence[Copy]) -> None:
    """Deletes copies, and the folder of a config that has none left.

    Raises:
      OSError: if the system does not allow it.
    """
    for copy in copies:
        shutil.rmtree(copy.path)
        if not any(copy.path.parent.iterdir()):
            copy.path.parent.rmdir()


def table(copies: Sequence[Copy]) -> str:
    """Returns the copies as Markdown, with what their states mean."""
    lines = ["| copy | state | size | made | from |", "|---|---|---|---|---|"]
    for copy in copies:
        cells = [copy.name, copy.state, megabytes(copies=[copy]), f"{copy.made:%Y-%m-%d %H:%M}"]
        lines.append("| " + " | ".join([*cells, copy.source]) + " |")
    states = [state for state in STATES if any(copy.state == state for copy in copies)]
    return "\n".join([*lines, "", *(f"{state}: {STATES[state]}" for state in states)])


def megabytes(copies: Sequence[Copy]) -> str:
    """Returns the size of copies together, in words."""
    return f"{sum(copy.size for copy in copies) / 1e6:,.1f} MB"


def _describe(path: pathlib.Path, data_dir: pathlib.Path) -> Copy:
    source = _source(path)
    return Copy(
        path=path,
        name=str(path.relative_to(data_dir)),
        state=_state(path, source),
        made=datetime.datetime.fromtimestamp(path.stat().st_mtime),
        source=source,
    )


def _source(path: pathlib.Path) -> str:
    """Returns the folder that a copy was made of, as its description has it."""
    try:
        info = json.loads((path / "dataset_info.json").read_text(encoding="utf-8"))
        description = str(info.get("configDescription", ""))
    except (OSError, ValueError, AttributeError):  # no copy, or a damaged one
        return ""
    return description.removeprefix(READ_FROM) if description.startswith(READ_FROM) else ""


def _state(path: pathlib.Path, source: str) -> str:
    if not is_whole(path):
        return UNFINISHED
    builder = packages.builder_class(path.parents[1].name)
    if path.name != str(builder.VERSION):  # the present builder would make another
        return OLD
    if not source:
        return CURRENT
    if not pathlib.Path(source).is_dir():
        return GONE
    changed = builder.fingerprint(pathlib.Path(source)) not in path.parent.name.split("_")
    return OLD if changed else CURRENT
