"""Types that norms, softmax and losses compute in."""

import jax
import jax.numpy as jnp

from rrsis_jax.types import Dtype


def wide_type(dtype: Dtype) -> Dtype:
    """Returns float32, or `dtype` if it is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Returns `x` in float32, or as it is where its own type is wider."""
    return x.astype(wide_type(x.dtype))
