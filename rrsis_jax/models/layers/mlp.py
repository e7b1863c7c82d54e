"""The two linear layers of a transformer block."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.types import Dtype


def exact_gelu(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit by the error function, as the pretrained weights expect."""
    return nn.gelu(x, approximate=False)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Attributes:
      hidden: width of the inner layer.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (..., C) to (..., C) through `hidden` features."""
        dense = functools.partial(
            nn.Dense, dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=transformer_init
        )
        inner = exact_gelu(dense(self.hidden, name="fc1")(x))
        return dense(x.shape[-1], name="fc2")(inner)
