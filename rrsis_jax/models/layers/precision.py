"""Types that models compute in; norms, softmax and losses in float32 or wider."""

import jax
import jax.numpy as jnp

from rrsis_jax.types import Dtype

# By the values of `model.dtype`; see `validators.DTYPE`.
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def dtype_problems(name: str) -> list[str]:
    """Returns why `model.dtype` cannot be that: float64 is not where JAX computes without it."""
    if name != "float64" or jnp.arange(0.0).dtype == jnp.float64:
        return []
    return [
        "dtype is float64, which JAX takes for float32 as it was started; set JAX_ENABLE_X64=1 in "
        "the environment, or model.dtype to float32"
    ]


def wide_type(dtype: Dtype) -> Dtype:
    """Returns float32, or `dtype` if it is wider."""
    return jnp.promote_types(dtype, jnp.float32)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Returns `x` in float32, or as it is where its own type is wider."""
    return x.astype(wide_type(x.dtype))
