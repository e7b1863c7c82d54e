"""Sizes of maps: corner-aligned resizing and padding."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rrsis_jax.models.layers.precision import wide_type


@functools.lru_cache(maxsize=64)
def _interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns the float64 (new_size, size) matrix of 1-D linear interpolation, ends aligned."""
    step = (size - 1) / (new_size - 1) if new_size > 1 else 0.0
    position = np.arange(new_size) * step
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = position - low
    matrix = np.zeros((new_size, size))
    rows = np.arange(new_size)
    np.add.at(matrix, (rows, low), 1.0 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    return matrix


def resize_linear(
    x: jax.Array, height: int, width: int, weights: Callable[[int, int], np.ndarray]
) -> jax.Array:
    """Resizes maps by a separable linear rule.

    Its coefficients depend on the sizes alone, so two small dense products replace all gathers.

    Args:
      x: (B, H, W, C).
      height: rows of the result.
      width: columns of the result.
      weights: (size, new size) → (new size, size), along one side.

    Returns:
      Array (B, height, width, C) of the type of `x`.
    """
    _, rows, columns, _ = x.shape
    contract: Callable = functools.partial(
        jnp.einsum,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=wide_type(x.dtype),
    )
    if height != rows:
        matrix = jnp.asarray(weights(rows, height), x.dtype)
        x = contract("oh,bhwc->bowc", matrix, x).astype(x.dtype)
    if width != columns:
        matrix = jnp.asarray(weights(columns, width), x.dtype)
        x = contract("ow,bhwc->bhoc", matrix, x).astype(x.dtype)
    return x


def resize_aligned(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly with aligned corners: corner pixels keep their values.

    `jax.image.resize` knows half-pixel centres only.

    Args:
      x: (B, H, W, C).
      height: rows of the result.
      width: columns of the result.

    Returns:
      Array (B, height, width, C) of the type of `x`.
    """
    return resize_linear(x, height, width, _interpolation_matrix)


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Pads (B, H, W, C) with zeros at the bottom and right until `multiple` divides H and W."""
    bottom, right = -x.shape[1] % multiple, -x.shape[2] % multiple
    if bottom == 0 and right == 0:
        return x
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)))
