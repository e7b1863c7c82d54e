"""Test-time averaging: the mean answer over mirrored and turned views of an image."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from rrsis_jax.data.geometry import Geometry
from rrsis_jax.models.contract import Tree

_LEAST = 1e-6  # keeps the log-odds of a unanimous answer finite


def averaged_log_odds(
    log_odds: Callable[[Tree, Tree], jax.Array],
    images: Tree,
    views_batch: Mapping[str, Tree],
    views: Sequence[Geometry],
) -> jax.Array:
    """Averages the target's probability over views of square images.

    Args:
      log_odds: (images (B, s, s, 3), text (B, …)) → float32 (B, S, S).
      images: name → (B, s, s, 3).
      views_batch: `text` (B, V, …) and `weight` (B, V), see `data.views`.
      views: the V geometries.

    Returns:
      float32 (B, S, S): the log-odds of the mean probability.
    """
    turned = jax.tree.map(lambda x: jnp.stack([v.apply(x, rows=1) for v in views]), images)
    text = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), views_batch["text"])
    # One view after the other: the network is compiled once and needs the memory of one.
    of_views = jax.lax.map(lambda pair: jax.nn.sigmoid(log_odds(*pair)), (turned, text))
    probabilities = jnp.stack(
        [view.inverse().apply(p, rows=1) for view, p in zip(views, of_views, strict=True)], axis=1
    )
    weights = views_batch["weight"][:, :, None, None]
    mean = jnp.sum(probabilities * weights, axis=1) / jnp.sum(weights, axis=1)
    return jax.scipy.special.logit(jnp.clip(mean, _LEAST, 1.0 - _LEAST))
