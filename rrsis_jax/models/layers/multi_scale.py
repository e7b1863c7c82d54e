"""The maps of all scales looked at together, and the result brought back to each.

Sources: RMSIN (Liu et al., CVPR 2024), cross-scale interaction; FIANet (Lei et al., TGRS 2025),
text-aware multi-scale enhancement. They differ in the mixer between.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.layers.initializers import uniform_inits
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.resize import resize_linear
from rrsis_jax.types import Dtype, LayerTypes


@functools.lru_cache(maxsize=64)
def _pooling_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns (new_size, size): bin i is the mean of ⌊i·size/new⌋ … ⌈(i+1)·size/new⌉."""
    matrix = np.zeros((new_size, size))
    for index in range(new_size):
        start, stop = index * size // new_size, -(-(index + 1) * size // new_size)
        matrix[index, start:stop] = 1.0 / (stop - start)
    return matrix


@functools.lru_cache(maxsize=64)
def _half_pixel_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns (new_size, size): linear interpolation between pixel centres, edges repeated."""
    position = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    matrix, rows = np.zeros((new_size, size)), np.arange(new_size)
    np.add.at(matrix, (rows, low), 1.0 - (position - low))
    np.add.at(matrix, (rows, high), position - low)
    return matrix


def pool_to(x: jax.Array, height: int, width: int) -> jax.Array:
    """Averages (B, H, W, C) over bins to (B, height, width, C); bins may overlap."""
    return resize_linear(x, height, width, _pooling_matrix)


def resize_half_pixel(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes (B, H, W, C) bilinearly between pixel centres, without smoothing."""
    return resize_linear(x, height, width, _half_pixel_matrix)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """Returns min(max(x + 3, 0), 6) / 6."""
    return jax.nn.relu6(x + 3.0) / 6.0


class ScaleAwareGate(nn.Module):
    """Lets what all scales know together strengthen and shift the map of one scale.

    Attributes:
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, local: jax.Array, joint: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) and (B, h, w, C) to (B, H, W, C)."""

        def embedded(name: str, x: jax.Array) -> jax.Array:
            types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            inits = uniform_inits(x.shape[-1])
            x = nn.Dense(x.shape[-1], name=name, **inits, **types)(x)
            return BatchNorm(axis_name=self.axis_name, name=f"{name}_bn", **types)(x, train)

        size = local.shape[1:3]
        factor = resize_half_pixel(hard_sigmoid(embedded("factor", joint)), *size)
        return embedded("local", local) * factor + resize_half_pixel(
            embedded("offset", joint), *size
        )


class JointScales(nn.Module):
    """Pools all maps to the coarsest, mixes them in a quarter of their channels, gives them back.

    Attributes:
      mixer: (x (B, h, w, D / 4), what comes with it, train) → the same shape.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    mixer: Callable[..., jax.Array]
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, maps: tuple[jax.Array, ...], *context: object, train: bool
    ) -> tuple[jax.Array, ...]:
        """Returns maps of the shapes that came.

        Args:
          maps: (B, H, W, C) each, fine to coarse; D is the sum of their channels.
          *context: handed to the mixer.
          train: whether batch statistics are the batch's.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def dense(name: str, features: int, x: jax.Array) -> jax.Array:
            return nn.Dense(features, name=name, **uniform_inits(x.shape[-1]), **types)(x)

        widths = [x.shape[-1] for x in maps]
        size = maps[-1].shape[1:3]
        pooled = jnp.concatenate([pool_to(x, *size) for x in maps], axis=-1)
        self.sow("intermediates", "pooled", pooled)
        x = dense("down", sum(widths) // 4, pooled)
        x = self.mixer(x, *context, train=train)
        x = BatchNorm(axis_name=self.axis_name, name="bn", **types)(x, train)
        pieces = jnp.split(dense("up", sum(widths), x), np.cumsum(widths)[:-1], axis=-1)
        return tuple(
            ScaleAwareGate(self.axis_name, name=f"gate_{index}", **types)(local, joint, train)
            for index, (local, joint) in enumerate(zip(maps, pieces, strict=True))
        )
