"""Stochastic depth."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class DropPath(nn.Module):
    """Drops a residual branch for whole samples (stochastic depth, Huang et al., ECCV 2016).

    Kept samples are divided by the keep rate, so that the expectation stays. Random bits come
    from the "dropout" collection.

    Attributes:
      rate: probability that a sample loses the branch; may be traced.
    """

    rate: float | jax.Array

    @nn.compact
    def __call__(self, branch: jax.Array, train: bool) -> jax.Array:
        """Returns `branch` (B, ...) with some samples zeroed when `train`."""
        if not train or (isinstance(self.rate, float) and self.rate == 0.0):
            return branch
        keep = 1.0 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        survives = jax.random.bernoulli(self.make_rng("dropout"), keep, shape)
        return jnp.where(survives, (branch / keep).astype(branch.dtype), jnp.zeros_like(branch))
