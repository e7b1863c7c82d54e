"""CLU's writer to TensorBoard files and the log, with faults in sentences."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from clu import metric_writers

from rrsis_jax import errors
from rrsis_jax.distributed import hosts


def make_writer(folder: pathlib.Path) -> metric_writers.MetricWriter:
    """Returns the writer to TensorBoard files and the log; other hosts than the lead only log."""
    writer: Any = _Writer(folder)  # it has CLU's methods, but is none of its kinds
    return writer


class _Writer:
    """CLU's writer, whose faults are told in a sentence: TensorFlow tells them in a dump."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        make = self._told(metric_writers.create_default_writer)
        self._writer = make(folder, just_logging=not hosts.is_lead(), asynchronous=False)

    def __getattr__(self, name: str) -> Callable:
        return self._told(getattr(self._writer, name))

    def _told(self, method: Callable) -> Callable:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return method(*arguments, **named)
            except Exception as error:  # TensorFlow's have no kind in common with others
                raise ValueError(
                    f"TensorBoard's files could not be written to {self._folder}: "
                    f"{errors.reason(error)}. Finished checkpoints are whole. Make room or "
                    "check the permissions, then give the same command again."
                ) from error

        return call
