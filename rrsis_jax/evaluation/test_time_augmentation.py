"""Test-time averaging: the mean answer over mirrored and turned views of an image."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from rrsis_jax.data.geometry import Geometry
from rrsis_jax.types import Batch

_LEAST = 1e-6  # keeps the log-odds of a unanimous answer finite


def averaged_log_odds(
    log_odds: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    image: jax.Array,
    batch: Batch,
    views: Sequence[Geometry],
) -> jax.Array:
    """Averages the target's probability over views of square images.

    Args:
      log_odds: (image (B, S, S, 3), ids (B, N), mask (B, N)) → float32 (B, S, S).
      image: (B, S, S, 3).
      batch: holds `view_ids` and `view_mask` (B, V, N) and `view_weight` (B, V), see
        `data.views`.
      views: the V geometries.

    Returns:
      float32 (B, S, S): the log-odds of the mean probability.
    """
    images = jnp.stack([view.apply(image, rows=1) for view in views])
    ids, mask = (jnp.moveaxis(batch[key], 1, 0) for key in ("view_ids", "view_mask"))
    # One view after the other: the network is compiled once and needs the memory of one.
    found = jax.lax.map(lambda inputs: jax.nn.sigmoid(log_odds(*inputs)), (images, ids, mask))
    probabilities = jnp.stack(
        [view.inverse().apply(p, rows=1) for view, p in zip(views, found, strict=True)], axis=1
    )
    weights = batch["view_weight"][:, :, None, None]
    mean = jnp.sum(probabilities * weights, axis=1) / jnp.sum(weights, axis=1)
    return jax.scipy.special.logit(jnp.clip(mean, _LEAST, 1.0 - _LEAST))
