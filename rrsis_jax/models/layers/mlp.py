"""The two linear layers of a transformer block."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.initializers import Inits, transformer_inits
from rrsis_jax.types import Dtype


def exact_gelu(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit by the error function, as the pretrained weights expect."""
    return nn.gelu(x, approximate=False)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Attributes:
      hidden: width of the inner layer.
      inits: initialisers of both layers.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    inits: Inits = transformer_inits
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (..., C) to (..., C) through `hidden` features."""
        channels = x.shape[-1]
        dense = functools.partial(nn.Dense, dtype=self.dtype, param_dtype=self.param_dtype)
        inner = exact_gelu(dense(self.hidden, name="fc1", **self.inits(channels))(x))
        return dense(channels, name="fc2", **self.inits(self.hidden))(inner)
