"""Separable resizing of maps by two small dense products, with PyTorch's conventions.

`jax.image.resize` knows neither aligned corners nor the cubic kernel that position tables of
pretrained encoders were made for (a = −0.75, the border repeated).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

KINDS = ("linear", "cubic")


@functools.lru_cache(maxsize=64)
def matrix(size: int, new_size: int, kind: str = "linear", aligned: bool = False) -> np.ndarray:
    """Returns float64 (new_size, size): the weights of 1-D interpolation without antialiasing.

    Args:
      size: length of the old axis.
      new_size: length of the new one.
      kind: "linear", or "cubic": Keys' convolution with a = −0.75.
      aligned: whether the ends keep their values; otherwise samples lie at pixel centres.
    """
    if aligned:
        centre = np.arange(new_size) * ((size - 1) / (new_size - 1) if new_size > 1 else 0.0)
    else:
        centre = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    weights = np.zeros((new_size, size))
    kernel, reach = (_linear, 1) if kind == "linear" else (_cubic, 2)
    for offset in range(1 - reach, 1 + reach):
        tap = np.floor(centre).astype(int) + offset
        column = np.clip(tap, 0, size - 1)  # the border is repeated
        np.add.at(weights, (np.arange(new_size), column), kernel(np.abs(centre - tap)))
    return weights


def resize(
    x: jax.Array, height: int, width: int, kind: str = "linear", aligned: bool = False
) -> jax.Array:
    """Resizes maps (B, H, W, C) to (B, height, width, C) of the same type; see `matrix`."""
    contract = functools.partial(
        jnp.einsum,
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    _, rows, columns, _ = x.shape
    if height != rows:
        weights = jnp.asarray(matrix(rows, height, kind, aligned), x.dtype)
        x = contract("oh,bhwc->bowc", weights, x).astype(x.dtype)
    if width != columns:
        weights = jnp.asarray(matrix(columns, width, kind, aligned), x.dtype)
        x = contract("ow,bhwc->bhoc", weights, x).astype(x.dtype)
    return x


def _linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: np.ndarray) -> np.ndarray:
    a, d = -0.75, distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
