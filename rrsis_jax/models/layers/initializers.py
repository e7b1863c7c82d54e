"""How kernels and biases start."""

from collections.abc import Callable
from typing import TypedDict

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.types import Dtype

# The reference redraws every linear layer of its backbone, language gates included, from this
# normal, whose tails are not cut, and the relative position tables too.
transformer_init = nn.initializers.normal(stddev=0.02)

# Every other layer starts as PyTorch's layers do: uniform within ±1 / sqrt(fan-in).
uniform_init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


class KernelAndBias(TypedDict):
    """The initialisers of a linear layer, by Flax's names."""

    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer


Inits = Callable[[int], KernelAndBias]
"""From a layer's fan-in to its initialisers."""


def transformer_inits(fan_in: int) -> KernelAndBias:
    """Initialisers of the backbone's linear layers: a normal of deviation 0.02, biases 0."""
    del fan_in
    return {"kernel_init": transformer_init, "bias_init": nn.initializers.zeros}


def uniform_inits(fan_in: int) -> KernelAndBias:
    """Initialisers of all other layers: kernel and bias uniform within ±1 / sqrt(fan-in)."""
    bound = fan_in**-0.5

    def bias_init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return {"kernel_init": uniform_init, "bias_init": bias_init}
