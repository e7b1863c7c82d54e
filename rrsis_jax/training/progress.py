"""How far a run is: what it remembers, and the scalars still on the device."""

import dataclasses
from typing import Any

import jax
import numpy as np

from rrsis_jax.training.plan import Plan


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
