"""The folder of a prediction's results: what its files are called, and whose they are."""

import json
import os
import pathlib
import re
import shutil
from collections.abc import Sequence
from typing import Any

from rrsis_jax import io

SUMMARY_FILE = "summary.json"
_OVERLAY_FILE = "overlay.png"
_WORK_FOLDER = "unfinished"
_LIST_FILE = "files.json"  # in the folder of unfinished work
_LISTED = "files"  # the key under which both name what a job writes
_SUFFIXES = (".png", ".tif", ".gpkg", ".geojson")


class JobFolder:
    """The names of everything that a job writes.

    Attributes:
      output: the folder.
      expressions: what is segmented.
      masks: a file for each expression.
      probabilities: a file for each expression.
      overlay: the picture for people.
      summary: what was done, with the names of all other files.
      work: folder of unfinished work.
    """

    def __init__(self, output: pathlib.Path, expressions: Sequence[str], suffix: str):
        """Names the files; writes nothing.

        Args:
          output: the folder.
          expressions: what is segmented.
          suffix: of masks and probabilities, like ".png".
        """
        self.output, self.expressions = output, tuple(expressions)
        stems = [_stem(k, text) for k, text in enumerate(expressions, start=1)]
        self.masks = [output / f"{stem}_mask{suffix}" for stem in stems]
        self.probabilities = [output / f"{stem}_probability{suffix}" for stem in stems]
        self.overlay, self.summary = output / _OVERLAY_FILE, output / SUMMARY_FILE
        self.work = output / _WORK_FOLDER

    def results(self) -> list[pathlib.Path]:
        """Returns all files that stay."""
        return [*self.masks, *self.probabilities, self.overlay, self.summary]

    def earlier(self) -> list[pathlib.Path]:
        """Returns the files that earlier jobs left here, whatever their expressions were."""
        named = [*_named(self.summary), *_named(self.work / _LIST_FILE)]
        return [path for path in dict.fromkeys([*self.results(), *named]) if path.is_file()]

    def check_free(self, overwrite: bool) -> None:
        """Refuses a folder that cannot be written into, or holds results that would be replaced.

        Raises:
          ValueError: see above; the latter only if `overwrite` is false.
        """
        if os.path.lexists(self.output) and not self.output.is_dir():
            raise ValueError(f"{self.output} is no folder. Choose another --output.")
        earlier = self.earlier()
        if earlier and not overwrite:
            raise ValueError(
                f"{earlier[0]} exists already. Choose another --output, or add --overwrite."
            )

    def clear(self) -> None:
        """Removes what earlier jobs left, finished or not."""
        for path in self.earlier():
            path.unlink()
        shutil.rmtree(self.work, ignore_errors=True)

    def begin_work(self) -> None:
        """Makes the folder of unfinished work, with the names of what will be written."""
        self.work.mkdir(parents=True, exist_ok=True)
        io.write_text(self.work / _LIST_FILE, json.dumps({_LISTED: self._names()}) + "\n")

    def write_summary(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Writes facts and the names of all files, and returns both."""
        summary = {**facts, _LISTED: self._names()}
        io.write_text(self.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        return summary

    def _names(self) -> list[str]:
        return [path.name for path in self.results()]


def _stem(number: int, expression: str) -> str:
    """Returns a readable start of a file name for an expression, numbered from 1."""
    words = re.sub(r"\W+", "_", expression.lower()).strip("_")
    return f"{number:02d}_{words[:40]}"


def _named(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the results that a list of a job names, none where it is no such list.

    A name that leads out of the folder, or is of no kind that a job writes, is nobody's.
    """
    try:
        listed = io.read_json(path).get(_LISTED, []) if path.is_file() else []
    except ValueError:  # damaged, or another program's
        listed = []
    folder = path.parent if path.name == SUMMARY_FILE else path.parent.parent
    return [
        folder / name
        for name in (listed if isinstance(listed, list) else [])
        if isinstance(name, str)
        and pathlib.PurePath(name).name == name
        and pathlib.PurePath(name).suffix in _SUFFIXES
    ]
