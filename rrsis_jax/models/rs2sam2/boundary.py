"""The boundary loss (paper, section on text-guided boundary loss), as the published code has it."""

import jax
import jax.numpy as jnp


def edges(mask: jax.Array) -> jax.Array:
    """Returns how a mask differs from its neighbours above and to the left.

    Args:
      mask: (B, H, W), 0 or 1.

    Returns:
      (B, H, W) of the same type, 0, 1 or 2; the first row and column have no neighbour.
    """
    above = jnp.pad(jnp.abs(mask[:, 1:] - mask[:, :-1]), ((0, 0), (1, 0), (0, 0)))
    left = jnp.pad(jnp.abs(mask[:, :, 1:] - mask[:, :, :-1]), ((0, 0), (0, 0), (1, 0)))
    return above + left


def boundary_loss(logits: jax.Array, target: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the mean squared difference of weighted edges of each sample.

    The mask is cut at probability 0.5, which has no gradient: the loss trains the weight alone,
    and cannot move an edge.

    Args:
      logits: (B, H, W), float32 or wider; here the mask is above 0.
      target: (B, H, W) integers, 0 or 1.
      weight: (B,), what the sentence's features make of it.

    Returns:
      (B,), of the type of the logits.
    """
    ours, theirs = ((mask > 0).astype(logits.dtype) for mask in (logits, target))
    difference = jnp.mean((edges(ours) - edges(theirs)) ** 2, axis=(1, 2))
    return weight.astype(logits.dtype) ** 2 * difference
