"""Training losses, computed in float32 as sums that the caller divides last."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def pixel_weights(target: jax.Array, class_weights: Sequence[float]) -> jax.Array:
    """Returns each pixel's cross-entropy weight.

    Args:
      target: (B, H, W) integers, 0 for background and 1 for the referred objects.
      class_weights: weights of background and target, (0.9, 1.1) in the paper's recipe.

    Returns:
      float32 (B, H, W).
    """
    background, foreground = class_weights
    return jnp.where(target > 0, jnp.float32(foreground), jnp.float32(background))


def cross_entropy(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the cross entropy of two classes per pixel.

    With two classes it is the softplus of the wrong class's lead, which needs no gather.

    Args:
      log_odds: float32 (B, H, W), the target's logit minus the background's.
      target: (B, H, W) integers, 0 or 1.

    Returns:
      float32 (B, H, W).
    """
    return jax.nn.softplus(jnp.where(target > 0, -log_odds, log_odds))


def soft_dice(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns one minus the soft Dice coefficient of each sample (Milletari et al., 3DV 2016).

    One pixel is added to both sides of the quotient, so that an empty prediction of an empty
    target costs nothing.

    Args:
      log_odds: float32 (B, H, W).
      target: (B, H, W) integers, 0 or 1.

    Returns:
      float32 (B,), between 0 and 1.
    """
    probability = jax.nn.sigmoid(log_odds)
    target = (target > 0).astype(jnp.float32)
    shared = jnp.sum(probability * target, axis=(1, 2))
    total = jnp.sum(probability, axis=(1, 2)) + jnp.sum(target, axis=(1, 2))
    return 1.0 - (2.0 * shared + 1.0) / (total + 1.0)
