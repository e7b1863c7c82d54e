"""How far a run is: its planned lengths, what it remembers, and the scalars still on the device."""

import dataclasses
from typing import Any

import jax
import ml_collections
import numpy as np

from rrsis_jax import parallel


@dataclasses.dataclass(frozen=True)
class Plan:
    """The lengths of a run, in steps."""

    steps_per_epoch: int
    total: int
    eval_every: int

    def is_validated(self, step: int) -> bool:
        """Returns whether the run is validated and saved after `step`."""
        return step % self.eval_every == 0 or step == self.total


def check_batch_sizes(config: ml_collections.ConfigDict) -> None:
    """Refuses batch sizes that the devices cannot share, before anything is prepared for them.

    Raises:
      ValueError: naming the nearest sizes that fit.
    """
    micro_batches = config.optim.accumulate_steps
    parallel.check_batch_size("train.batch_size", config.train.batch_size, micro_batches)
    parallel.check_batch_size("eval.batch_size", config.eval.batch_size)


def make_plan(config: ml_collections.ConfigDict, num_samples: int) -> Plan:
    """Returns the run's lengths.

    Args:
      config: the whole configuration.
      num_samples: the size of the training split.

    Raises:
      ValueError: if the split is smaller than a batch, or the run would have no step.
    """
    train = config.train
    steps_per_epoch = num_samples // train.batch_size
    if not steps_per_epoch:
        raise ValueError(
            f"The training split has {num_samples} sample(s), fewer than one batch of "
            f"{train.batch_size}. Lower train.batch_size."
        )
    total = round(train.epochs * steps_per_epoch)
    if total < 1:
        raise ValueError(f"train.epochs is {train.epochs}, which is no step at all. Raise it.")
    return Plan(steps_per_epoch, total, max(1, round(train.eval_every_epochs * steps_per_epoch)))


@dataclasses.dataclass
class Progress:
    """What a checkpoint remembers beside the state.

    Attributes:
      history: one record per validation: step, epoch, mean training loss since the one before,
        validation metrics.
      losses: training losses of the steps since the last validation.
    """

    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)

    def record(self, step: int, plan: Plan, metrics: dict[str, float]) -> dict[str, Any]:
        """Closes the losses since the last validation and appends the new record."""
        loss = float(np.mean(self.losses))
        entry = {"step": step, "epoch": step / plan.steps_per_epoch, "train_loss": loss, **metrics}
        self.history.append(entry)
        self.losses = []
        return entry


class PendingScalars:
    """Scalars of finished steps, left on the device so that the loop need not wait for them."""

    def __init__(self):
        """Starts with no pending step."""
        self._pending: list[tuple[dict[str, jax.Array], jax.Array]] = []

    def add(self, scalars: dict[str, jax.Array], samples: jax.Array) -> None:
        """Takes a step's replicated scalars and the indices of its samples."""
        self._pending.append((scalars, samples))

    def fetch(self, last_step: int) -> list[dict[str, float]]:
        """Returns the scalars of all steps up to `last_step` since the last call.

        Raises:
          FloatingPointError: naming the first step whose loss or gradient was not finite, and its
            samples.
        """
        pending, self._pending = self._pending, []
        fetched = jax.device_get([{k: x[0] for k, x in s.items()} for s, _ in pending])
        first = last_step - len(fetched) + 1
        for step, scalars, (_, samples) in zip(
            range(first, last_step + 1), fetched, pending, strict=True
        ):
            if not scalars["finite"]:
                raise FloatingPointError(
                    f"Step {step}: the loss is {scalars['loss']}, the gradient's norm is "
                    f"{scalars['grad_norm']}, on samples {np.ravel(samples).tolist()} of the "
                    "training split. The checkpoints before it are whole. Try a lower "
                    "optim.learning_rate, optim.clip_norm=1.0 or model.dtype=float32."
                )
        return [{key: float(x) for key, x in scalars.items()} for scalars in fetched]
