"""Stopping work from outside without losing any: SIGTERM (Colab, TPU, Slurm) and Ctrl-C."""

import signal
import sys
from types import FrameType

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818  it is no error
    """The run was stopped from outside after saving; the message says how to go on.

    Attributes:
      signal: the signal's number.
    """

    def __init__(self, message: str, number: int):
        """Takes the message for the user and the signal's number."""
        super().__init__(message)
        self.signal = number


class StopRequest:
    """Remembers that a signal asked to stop; a second one stops at once.

    With several hosts, SIGTERM is left to JAX, which tells all hosts and finds a step that none
    of them has passed; Ctrl-C becomes a SIGTERM.

    Used as a context manager, so that the handlers of before are put back.
    """

    def __init__(self):
        """Starts without a request."""
        self.received: int | None = None
        self._before = {}

    def __enter__(self) -> "StopRequest":
        """Installs the handlers."""
        numbers = SIGNALS if jax.process_count() == 1 else (signal.SIGINT,)
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *unused: object) -> None:
        """Puts the former handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Returns whether this process was asked to stop."""
        return self.received is not None

    def reached(self, step: int) -> bool:
        """Returns whether to save and stop after `step`; the same on every host."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.requested()

    def stopped(self, step: int, total: int) -> Stopped:
        """Returns what to raise when the state after `step` is on disk."""
        name = signal.Signals(self.received or signal.SIGTERM).name
        return Stopped(
            f"Stopped by {name} after step {step} of {total}; everything is saved. "
            "Give the same command again to go on.",
            self.received or signal.SIGTERM,
        )

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested():
            raise KeyboardInterrupt
        self.received = number
        print("\nStopping as soon as everything is saved…", file=sys.stderr, flush=True)
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)
