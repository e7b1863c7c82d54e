"""What the refiner is trained by: its errors where the stored mask is, and its calm elsewhere."""

import jax
import jax.numpy as jnp

from rrsis_jax.models import losses

SMALL, LARGE = 0.002, 0.02  # shares of the image between which an area is of medium size
RADII = (6, 12, 18)  # pixels around a small, medium and large area
EDGE_RADIUS = 3  # pixels around its outline
FOCUS_SHARE, EDGE_SHARE, DOUBT_SHARE = 0.7, 0.2, 0.1
SMOOTHING = 1e-6
INHIBITION = 0.05  # of what is changed where nothing is to be

Window = tuple[int, int, int]


def focus_map(prompt: jax.Array) -> jax.Array:
    """Returns how much each pixel counts, from 0 to 1: near the mask, at its edge, in doubt.

    Args:
      prompt: (B, H, W), the probability of the target.
    """
    mask = (prompt > 0.5).astype(prompt.dtype)
    area = jnp.mean(mask, axis=(1, 2), keepdims=True)
    small, medium, large = (_dilated(mask, radius) for radius in RADII)
    focus = jnp.where(area < SMALL, small, jnp.where(area > LARGE, large, medium))
    edge = _dilated(_dilated(mask, 1) - _eroded(mask), EDGE_RADIUS)
    doubt = 1.0 - jnp.abs(2.0 * prompt - 1.0)
    return jnp.clip(FOCUS_SHARE * focus + EDGE_SHARE * edge + DOUBT_SHARE * doubt, 0.0, 1.0)


def _dilated(mask: jax.Array, radius: int) -> jax.Array:
    """Returns the greatest value within a square of 2·radius + 1 pixels; the borders end it."""
    for window in ((1, 2 * radius + 1, 1), (1, 1, 2 * radius + 1)):
        mask = jax.lax.reduce_window(mask, -jnp.inf, jax.lax.max, window, (1, 1, 1), "SAME")
    return mask


def _eroded(mask: jax.Array) -> jax.Array:
    return 1.0 - _dilated(1.0 - mask, 1)


def terms(
    log_odds: jax.Array,
    delta: jax.Array,
    prompt: jax.Array,
    target: jax.Array,
    class_weights: tuple[float, float],
) -> dict[str, jax.Array]:
    """Returns each sample's losses, (B,) each, by name.

    Args:
      log_odds: (B, H, W), of the refined mask.
      delta: (B, H, W, 2), what was added to the logits.
      prompt: (B, H, W), the probabilities that were refined.
      target: (B, H, W) integers, 0 or 1.
      class_weights: of background and target.
    """
    focus = jax.lax.stop_gradient(focus_map(prompt))
    truth = (target > 0).astype(log_odds.dtype)

    def summed(x: jax.Array) -> jax.Array:
        return jnp.sum(x, axis=(1, 2))

    entropy = losses.cross_entropy(log_odds, target) * losses.pixel_weights(target, class_weights)
    probability = jax.nn.sigmoid(log_odds)
    shared, predicted, true = map(
        summed, (focus * probability * truth, focus * probability, focus * truth)
    )
    elsewhere = 1.0 - focus
    changed = jnp.mean(jnp.abs(delta), axis=-1)
    return {
        "cross_entropy": summed(focus * entropy) / jnp.maximum(summed(focus), SMOOTHING),
        "dice": 1.0 - (2.0 * shared + SMOOTHING) / (predicted + true + SMOOTHING),
        "inhibition": summed(elsewhere * changed) / jnp.maximum(summed(elsewhere), SMOOTHING),
    }


def scales() -> dict[str, float]:
    """Returns the factor of each term."""
    return {"cross_entropy": 1.0, "dice": 1.0, "inhibition": INHIBITION}
