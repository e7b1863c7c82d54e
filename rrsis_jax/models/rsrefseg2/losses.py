"""Three terms of RSRefSeg 2's loss, a value a sample each, in float32 or wider.

They are what the authors' code computes. The fourth, the pixels' cross entropy, is in
`models.losses`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.transformer import product


def squared_dice(log_odds: jax.Array, target: jax.Array) -> jax.Array:
    """Returns one minus the Dice coefficient with squares below (Milletari et al., 3DV 2016).

    Args:
      log_odds: (B, H, W), float32 or wider.
      target: (B, H, W) integers, 0 or 1.

    Returns:
      (B,), between 0 and 1. Where prediction and target are empty it is 1.
    """
    smoothing = 1e-3
    probability = jax.nn.sigmoid(log_odds)
    target = (target > 0).astype(probability.dtype)
    shared, predicted, true = (
        jnp.sum(x, axis=(1, 2)) for x in (probability * target, probability**2, target)
    )
    return 1.0 - 2.0 * shared / (predicted + true + 2.0 * smoothing)


def query_overlap(first: jax.Array, second: jax.Array) -> jax.Array:
    """Returns the squared cosine between the means of two sets of queries.

    Args:
      first: text queries (B, Q, C) that look for the object.
      second: those that look for its extent, likewise.

    Returns:
      (B,), 0 where the means are orthogonal.
    """
    return jnp.sum(mean_vector(first) * mean_vector(second), axis=-1) ** 2


def mean_vector(queries: jax.Array) -> jax.Array:
    """Returns the direction of the mean of queries (B, Q, C): unit vectors (B, C)."""
    return unit(jnp.mean(at_least_float32(queries), axis=1))


def image_vector(map_: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean over all places of what the image encoder sees of the target.

    Args:
      map_: of the image encoder (B, h, w, C).
      target: (B, H, W) integers, 0 or 1. A place counts where the target, resized with aligned
        corners, is above one half.

    Returns:
      Unit vectors (B, C); zero where no place counts.
    """
    map_ = at_least_float32(map_)
    height, width = map_.shape[1:3]
    target = (target > 0).astype(map_.dtype)[..., None]
    inside = interpolation.resize(target, height, width, aligned=True) > 0.5
    return unit(jnp.mean(map_ * inside.astype(map_.dtype), axis=(1, 2)))


def contrast(
    image: jax.Array,
    text: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    gather: Callable[[Any], Any],
) -> jax.Array:
    """Returns the mean of two cross entropies: an image among all phrases, a phrase among images.

    The right answer is the pair's own; equal phrases in a batch count as wrong ones.

    Args:
      image: unit vectors of a device's samples (b, C).
      text: unit vectors of their phrases (b, C).
      scale: logarithm of the factor of a cosine, (b,), equal numbers.
      bias: what is added to it, (b,), equal numbers.
      gather: joins arrays of all devices, see `contract.Model.loss_sums`.

    Returns:
      (b,).
    """
    factor, bias = jnp.exp(at_least_float32(scale)), at_least_float32(bias)
    images, texts = gather((image, text))
    own = factor * jnp.sum(image * text, axis=-1) + bias

    def entropy(vectors: jax.Array, others: jax.Array) -> jax.Array:
        cosines = product("bc,kc->bk", vectors, others)
        return jax.nn.logsumexp(factor[:, None] * cosines + bias[:, None], axis=1) - own

    return 0.5 * (entropy(image, texts) + entropy(text, images))


def unit(x: jax.Array) -> jax.Array:
    """Returns vectors (..., C) of length 1; zero ones stay, and have a finite gradient."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(square, 1e-24))
