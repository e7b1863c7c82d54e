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


def cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the cross entropy of two-class logits per pixel.

    With two classes it is the softplus of the wrong class's lead, which needs no gather.

    Args:
      logits: float32 (B, H, W, 2).
      target: (B, H, W) integers, 0 or 1.

    Returns:
      float32 (B, H, W).
    """
    lead = logits[..., 1] - logits[..., 0]
    return jax.nn.softplus(jnp.where(target > 0, -lead, lead))
