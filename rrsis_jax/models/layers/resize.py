"""Sizes of maps: corner-aligned resizing and padding."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


@functools.lru_cache(maxsize=64)
def _interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns the float32 (new_size, size) matrix of 1-D linear interpolation, ends aligned."""
    step = (size - 1) / (new_size - 1) if new_size > 1 else 0.0
    position = np.arange(new_size) * step
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = position - low
    matrix = np.zeros((new_size, size))
    rows = np.arange(new_size)
    np.add.at(matrix, (rows, low), 1.0 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    return matrix.astype(np.float32)


def resize_aligned(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly with aligned corners: corner pixels keep their values.

    `jax.image.resize` knows half-pixel centres only. Interpolation is separable and its
    coefficients depend on the sizes alone, so two small dense products replace all gathers.

    Args:
      x: (B, H, W, C).
      height: rows of the result.
      width: columns of the result.

    Returns:
      Array (B, height, width, C) of the type of `x`.
    """
    _, rows, columns, _ = x.shape
    contract: Callable = functools.partial(
        jnp.einsum, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    if height != rows:
        matrix = jnp.asarray(_interpolation_matrix(rows, height), x.dtype)
        x = contract("oh,bhwc->bowc", matrix, x).astype(x.dtype)
    if width != columns:
        matrix = jnp.asarray(_interpolation_matrix(columns, width), x.dtype)
        x = contract("ow,bhwc->bhoc", matrix, x).astype(x.dtype)
    return x


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Pads (B, H, W, C) with zeros at the bottom and right until `multiple` divides H and W."""
    bottom, right = -x.shape[1] % multiple, -x.shape[2] % multiple
    if bottom == 0 and right == 0:
        return x
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)))
