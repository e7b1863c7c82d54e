"""How kernels and biases start."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.types import Dtype

# Linear layers and position tables of the transformers start here (Swin, section A2).
transformer_init = nn.initializers.truncated_normal(stddev=0.02)

# Kernels of the fusion and of the decoder start uniformly within ±1 / sqrt(fan-in), which is what
# the reference's layers do. Fusion is sensitive to it: the instance norm magnifies what the words
# do to a map until they explain all of its variance, and wider kernels get there sooner.
uniform_init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


def uniform_bias_init(fan_in: int) -> nn.initializers.Initializer:
    """Returns the initialiser of biases beside kernels of `uniform_init`."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
