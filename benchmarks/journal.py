"""The results of a run on disk, whole after every one of them."""

import datetime
import gc
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import harness
from rrsis_jax import errors, io


class Journal:
    """Measures, and keeps what came of it: a run that is cut off leaves all that it had."""

    def __init__(self, path: pathlib.Path, minutes: float):
        """Begins the file."""
        self._path, self._start, self._end = path, time.monotonic(), 60 * minutes
        self._late = False
        device = jax.devices()[0]
        self.result: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": harness.machine(),
            "device": device.device_kind,
            "devices": jax.device_count(),
            "minutes": minutes,
            "finished": False,
            "results": [],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def measure(self, part: str, call: Callable[[], dict], **case: Any) -> dict | None:
        """Adds what `call` returns to the file, or why there is nothing.

        Args:
          part: of the run.
          call: returns a row.
          **case: what is measured.

        Returns:
          The row; None if it failed or the time was over before it began.
        """
        began = time.monotonic() - self._start
        row, failed = None, None
        if began > self._end:
            failed, self._late = "not begun: the time was over", True
        else:
            try:
                row = call()
            except Exception as error:  # the next measurement may go well all the same
                failed = f"{type(error).__name__}: {errors.first_line(error)}"
            gc.collect()
        outcome = {"failed": failed} if row is None else row
        self._add({"part": part, **case, "at s": round(began, 1), **outcome})
        return row

    def skip(self, part: str, reason: str) -> None:
        """Notes that a part is left out on this machine."""
        self._add({"part": part, "left out": reason})

    def failed(self) -> list[dict]:
        """Returns the entries of what could not be measured."""
        return [entry for entry in self.result["results"] if "failed" in entry]

    def finish(self) -> None:
        """Marks the file as that of a run that began everything it had to."""
        self.result["finished"] = not self._late
        self._write()

    def _add(self, entry: dict[str, Any]) -> None:
        self.result["results"].append(entry)
        self._write()
        print(json.dumps(entry), flush=True)

    def _write(self) -> None:
        io.write_text(self._path, json.dumps(self.result, indent=1) + "\n")
