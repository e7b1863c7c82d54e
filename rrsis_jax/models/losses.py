"""Training losses, computed in the type of the logits, as sums that the caller divides last."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def pixel_weights(target: jax.Array, class_weights: Sequence[float]) -> jax.Array:
    """Returns each pixel's cross-entropy weight.

    Args:
      target: (B, H, W) integers, 0 for background and 1 for the referred objects.
      class_weights: weights of background and target, (0.9, 1.1) in the paper's recipe.

    Returns:
      (B, H, W), of a weak type: a product with the entropy has the entropy's type.
    """
    background, foreground = map(float, class_weights)
    return jnp.where(target > 0, foreground, background)


def cross_entropy(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the cross entropy of two classes per pixel.

    With two classes it is the softplus of the wrong class's lead, which needs no gather.

    Args:
      log_odds: (B, H, W), the target's logit minus the background's, float32 or wider.
      target: (B, H, W) integers, 0 or 1.

    Returns:
      (B, H, W), of the type of the logits.
    """
    return jax.nn.softplus(jnp.where(target > 0, -log_odds, log_odds))


def soft_dice(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns one minus the soft Dice coefficient of each sample (Milletari et al., 3DV 2016).

    One pixel is added to both sides of the quotient, so that an empty prediction of an empty
    target costs nothing.

    Args:
      log_odds: (B, H, W), float32 or wider.
      target: (B, H, W) integers, 0 or 1.

    Returns:
      (B,), between 0 and 1, of the type of the logits.
    """
    probability = jax.nn.sigmoid(log_odds)
    target = (target > 0).astype(probability.dtype)
    shared = jnp.sum(probability * target, axis=(1, 2))
    total = jnp.sum(probability, axis=(1, 2)) + jnp.sum(target, axis=(1, 2))
    return 1.0 - (2.0 * shared + 1.0) / (total + 1.0)


def two_class_dice(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns one minus the soft Dice coefficient, added up over background and target (RMSIN).

    Args:
      log_odds: (B, H, W), float32 or wider, of the target against the background.
      target: (B, H, W) integers, 0 or 1.

    Returns:
      (B,), between 0 and 2, of the type of the log-odds.
    """
    target = (target > 0).astype(log_odds.dtype)
    smoothing = 1e-6

    def one_class(probability: jax.Array, truth: jax.Array) -> jax.Array:
        shared, predicted, true = (
            jnp.sum(x, axis=(1, 2)) for x in (probability * truth, probability, truth)
        )
        return 1.0 - (2.0 * shared + smoothing) / (predicted + true + smoothing)

    background = one_class(jax.nn.sigmoid(-log_odds), 1.0 - target)
    return background + one_class(jax.nn.sigmoid(log_odds), target)
