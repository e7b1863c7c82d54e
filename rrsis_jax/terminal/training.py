"""A training as people see it: facts, a line that stays, a row for each validation.

The view is told what the loop knows anyway: the number of a dispatched step, and
the losses that were fetched from them. It asks the devices for nothing.
"""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rrsis_jax.terminal import words
from rrsis_jax.terminal.lines import Screen, Styled

_CURVE = 400  # losses that the curve is of
_WIDEST = 24  # characters of a bar or curve
_SHOWN = ("oIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9")


class TrainingView:
    """Shows a training under way."""

    def __init__(
        self,
        screen: Screen,
        steps_per_epoch: int,
        total: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Takes the lengths of the run.

        Args:
          screen: what it is shown on.
          steps_per_epoch: steps in which every sample is seen once.
          total: steps of the whole run.
          batch_size: samples of a step on all devices.
          clock: returns seconds.
        """
        self._screen, self._clock = screen, clock
        self._per_epoch, self._total, self._batch = steps_per_epoch, total, batch_size
        self._losses: collections.deque[float] = collections.deque(maxlen=_CURVE)
        self._step = 0
        self._first: int | None = None  # the step that compiles
        self._mark: tuple[int, float] | None = None  # a step that is done, and when it was
        self._pace = 0.0  # seconds a step, of the last interval
        self._began: float | None = None  # when compiling did
        self._best = float("-inf")
        self._validations: list[float] = []  # their seconds
        self._validated_at = 0  # the step of the last one
        heads = "".join(name.rjust(8) for name in _SHOWN)
        heading = f"{'epoch':>5}{'step':>8}{'loss':>9}{heads}{'seconds':>9}  ★ best"
        self._heading: list[Styled] = [((heading, "dim"),)]  # before the first row

    @contextlib.contextmanager
    def running(self, start: int, history: Sequence[Mapping[str, Any]] = ()) -> Iterator[None]:
        """Shows the line during the body.

        Args:
          start: the last step that is done.
          history: validations that are done, see `progress.Progress`.
        """
        self._step, self._first = start, start + 1
        self.compiling()
        self._best = max((record["mIoU"] for record in history), default=self._best)
        with self._screen.sticky(self.line):
            yield

    def compiling(self) -> None:
        """Takes that the step is being compiled, from the first call on."""
        if self._began is None:
            self._began = self._clock()

    def stepped(self, step: int) -> None:
        """Takes the number of a dispatched step."""
        self._step = step
        if self._mark is None:  # it is compiled, and under way
            self._mark = (step - 1, self._clock())
        if step == self._first:
            self._screen.fact("compiled", f"in {self._since_began()}")
        self._screen.touch()

    def fetched(self, step: int, losses: Sequence[float], learning_rate: float) -> None:
        """Takes the losses of all steps up to `step` that were not fetched before."""
        self._losses.extend(losses)
        now = self._clock()
        if self._mark and step > self._mark[0]:
            self._pace = (now - self._mark[1]) / (step - self._mark[0])
        self._mark = (step, now)
        loss = sum(losses) / len(losses)
        self._screen.show(
            f"epoch {self._epoch(step)} of {self._epochs()}, step {step} of {self._total}, "
            f"loss {loss:.4f}, rate {learning_rate:.3g}, {self._images()} img/s, "
            f"{words.duration(self.left(step))} left",
            styled=[],
        )
        self._screen.touch()

    @contextlib.contextmanager
    def validating(self) -> Iterator[None]:
        """Takes the time of a validation, which no step is to be charged with."""
        began = self._clock()
        yield
        self._validations.append(self._clock() - began)
        self._validated_at = self._step
        self._mark = None  # the checkpoint is saved as well before the next step

    def validated(self, record: Mapping[str, Any]) -> None:
        """Shows the row of a validation.

        Args:
          record: `step`, `epoch`, `train_loss` and the metrics, from 0 to 1.
        """
        best = record["mIoU"] > self._best
        self._best = max(self._best, record["mIoU"])
        shown = {name: 100 * record[name] for name in _SHOWN}
        seconds = self._validations[-1]
        row = f"{record['epoch']:5.1f}{record['step']:8d}{record['train_loss']:9.4f}"
        row += "".join(f"{value:8.2f}" for value in shown.values()) + f"{seconds:9.1f}"
        numbers = ", ".join(f"{name} {value:.2f}" for name, value in shown.items())
        self._screen.show(
            f"validation after epoch {record['epoch']:.3g}, step {record['step']} of "
            f"{self._total}: {numbers}, training loss {record['train_loss']:.4f}, "
            f"{seconds:.1f} s{', the best so far' * best}",
            [*self._heading, ((row, "bold green" if best else ""), (" ★" * best, "green"))],
        )
        self._heading = []

    def left(self, step: int, until: int | None = None) -> float:
        """Returns the seconds to the end of step `until`, by default the last, with validations."""
        until = self._total if until is None else until
        rest = (until - step) * self._pace
        if until == self._total and self._validations:
            since = self._validated_at - (self._first or 1) + 1
            rest += sum(self._validations) / since * (until - step)
        return rest

    def line(self, width: int) -> Styled:
        """Returns the line that stays, of at most `width` characters where that can be."""
        if self._first is not None and self._step < self._first:
            return (("compiling the training step  ", ""), (self._since_began(), "dim"))
        head = f"epoch {self._epoch(self._step)}/{self._epochs()} "
        count = f" {self._step}/{self._total}"
        end = min(self._total, -(-self._step // self._per_epoch) * self._per_epoch)
        rate = f"  {self._images()} img/s" if self._pace else ""
        times = (
            f"  left {words.duration(self.left(self._step, end))} epoch "
            f"{words.duration(self.left(self._step))} run"
            if self._pace
            else ""
        )
        loss = f"  loss {self._losses[-1]:.3f} " if self._losses else ""
        room = width - sum(map(len, (head, count, rate, times, loss)))
        size = min(_WIDEST, room // 2 if loss else room)
        share = self._step / self._total
        full = round(share * size)
        gauge = (("━" * full, "green"), ("─" * (size - full), "dim")) if size >= 4 else ()
        curve = words.sparkline(self._losses, size) if size >= 4 else ""
        return (
            (head, "bold"),
            *gauge,
            (count, "cyan"),
            (rate, ""),
            (times, "dim"),
            (loss, ""),
            (curve, "magenta"),
        )

    def _epoch(self, step: int) -> int:
        return max(1, -(-step // self._per_epoch))

    def _epochs(self) -> int:
        return max(1, -(-self._total // self._per_epoch))

    def _images(self) -> str:
        return words.rate(self._batch / self._pace) if self._pace else "–"

    def _since_began(self) -> str:
        return words.duration(self._clock() - (self._began or 0.0))
