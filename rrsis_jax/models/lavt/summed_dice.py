"""The loss of RMSIN, which others of the family took over: cross entropy and a summed Dice.

The published code adds up the Dice losses of a device's samples, so their weight grows with the
batch that a device holds. Here it is defined over the global batch: `loss.dice_batch` is the batch
of the paper's device, and the result depends neither on devices nor on micro-batches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rrsis_jax.models import losses
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.lavt.model import Lavt
from rrsis_jax.types import Batch


class LavtWithSummedDice(Lavt):
    """A model of the family that is trained with this loss."""

    def loss_scales(self) -> dict[str, float]:
        """Cross entropy and the Dice losses of `dice_batch` samples."""
        loss = self.config.loss
        return {
            "cross_entropy": 1.0 - loss.dice_weight,
            "dice": loss.dice_weight * loss.dice_batch,
        }

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Cross entropy over pixels; Dice of background and target over samples."""
        del gather
        target = batch["target"]
        entropy = losses.cross_entropy(outputs.log_odds, target)
        weights = losses.pixel_weights(target, self.config.loss.class_weights)
        return {
            "cross_entropy": jnp.sum(entropy * weights),
            "dice": jnp.sum(losses.two_class_dice(outputs.log_odds, target)),
        }
