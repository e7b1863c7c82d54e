"""Swin transformer pieces (Liu et al., ICCV 2021): patches, shifted-window blocks, merging.

Known difference from the paper's own implementation: a shifted block keeps its shift where one
window covers the whole map, as the language-aware variants of the encoder do.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.layers.drop_path import DropPath
from rrsis_jax.models.layers.initializers import transformer_init, uniform_inits
from rrsis_jax.models.layers.mlp import Mlp
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.models.layers.resize import pad_to_multiple
from rrsis_jax.models.layers.sums import spread
from rrsis_jax.types import Dtype, LayerTypes

PATCH_SIZE = 4
MLP_RATIO = 4
REGION_PENALTY = -100.0  # added to attention logits between different shifted regions


class PatchEmbed(nn.Module):
    """Cuts the image into 4×4 patches and embeds each.

    Attributes:
      embed_dim: channels of the result.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    embed_dim: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps (B, H, W, 3) to (B, ceil(H / 4), ceil(W / 4), embed_dim)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        size = (PATCH_SIZE, PATCH_SIZE)
        inits = uniform_inits(math.prod(size) * image.shape[-1])
        patches = nn.Conv(
            self.embed_dim, size, strides=size, padding="VALID", name="proj", **inits, **types
        )(pad_to_multiple(image, PATCH_SIZE))
        return LayerNorm(name="norm", **types)(patches)


class PatchMerging(nn.Module):
    """Halves a map's sides and doubles its channels.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2C)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = pad_to_multiple(x, 2)
        batch, height, width, channels = x.shape
        # Neighbours are concatenated column by column: (0,0), (1,0), (0,1), (1,1).
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = x.transpose(0, 1, 3, 4, 2, 5).reshape(batch, height // 2, width // 2, 4 * channels)
        x = LayerNorm(name="norm", **types)(x)
        return nn.Dense(
            2 * channels, use_bias=False, kernel_init=transformer_init, name="reduction", **types
        )(x)


@functools.lru_cache(maxsize=8)
def relative_position_index(window: int) -> np.ndarray:
    """Returns int32 (w², w²): the row of the bias table for each pair of window positions."""
    row, column = np.divmod(np.arange(window * window, dtype=np.int32), np.int32(window))
    row_distance = row[:, None] - row[None, :] + window - 1
    column_distance = column[:, None] - column[None, :] + window - 1
    return row_distance * (2 * window - 1) + column_distance


def position_bias(table: jax.Array, window: int) -> jax.Array:
    """Returns `table[relative_position_index(window)]` with the heads first, without a gather.

    A gather's gradient adds up rows one by one: on accelerators a slow operation, and one whose
    order, hence round-off, changes from run to run. Slices and reshapes have neither fault.

    Args:
      table: ((2w - 1)², heads).
      window: w, side of a window.

    Returns:
      Array (heads, w², w²).
    """
    sides = 2 * window - 1
    bias = table.reshape(sides, sides, -1).transpose(2, 0, 1)
    bias = _differences(bias, window)  # heads, row distance, column, other column
    bias = _differences(bias.transpose(0, 2, 3, 1), window)
    return bias.transpose(0, 3, 1, 4, 2).reshape(-1, window * window, window * window)


def _differences(x: jax.Array, count: int) -> jax.Array:
    """Maps (…, 2n - 1) to (…, n, n): at (i, j) what `x` holds at i - j + n - 1."""
    edges = [(0, 0, 0)] * (x.ndim - 1) + [(0, 1, 0)]
    row = jax.lax.pad(jnp.flip(x, axis=-1), jnp.zeros((), x.dtype), edges)
    # Rows of 2n one after the other, cut anew into rows of 2n - 1: each begins one place earlier.
    rows = jnp.broadcast_to(row[..., None, :], (*x.shape[:-1], count, 2 * count))
    flat = rows.reshape(*x.shape[:-1], -1)[..., count - 1 :][..., : count * (2 * count - 1)]
    return flat.reshape(*x.shape[:-1], count, 2 * count - 1)[..., :count]


@functools.lru_cache(maxsize=32)
def shifted_region_mask(height: int, width: int, window: int) -> np.ndarray:
    """Returns what a shifted block adds to its attention logits.

    After the shift a window may hold positions that were far apart in the image. Positions of
    different regions do not attend to each other.

    Args:
      height: rows of the padded map, a multiple of `window`.
      width: columns of the padded map, a multiple of `window`.
      window: side of a window.

    Returns:
      float32 (n, w², w²) for n windows: 0 within a region, -100 between regions.
    """

    def region(size: int) -> np.ndarray:
        position = np.arange(size)
        return (position >= size - window).astype(int) + (position >= size - window // 2)

    regions = 3 * region(height)[:, None] + region(width)[None, :]
    regions = regions.reshape(height // window, window, width // window, window)
    regions = regions.transpose(0, 2, 1, 3).reshape(-1, window * window)
    different = regions[:, :, None] != regions[:, None, :]
    return np.where(different, np.float32(REGION_PENALTY), np.float32(0.0))


def padded_product(*operands: Any, multiple: int, **options: Any) -> jax.Array:
    """Is `jax.lax.dot_general` of a map (B, H, W, C), padded with zeros at the bottom and right.

    A linear layer's padded positions so become its bias; no products are computed for them.

    Args:
      *operands: of `dot_general`, whose result is a map.
      multiple: of which both sides of the result are.
      **options: of `dot_general`.
    """
    return pad_to_multiple(jax.lax.dot_general(*operands, **options), multiple)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned relative position bias.

    Positions that pad a map to whole windows take part in the attention.

    Attributes:
      num_heads: attention heads.
      window: side of a window.
      shifted: whether windows are shifted cyclically by half their side; regions that this wraps
        around stay apart.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int
    window: int
    shifted: bool
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to the same shape."""
        batch, *sides, channels = x.shape
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        window, heads, head_dim = self.window, self.num_heads, channels // self.num_heads
        shift = window // 2 if self.shifted else 0

        # The projections act on single positions, so padding need not pass them, and one transpose
        # between them makes the windows, the heads and q, k, v at once.
        dense = functools.partial(nn.Dense, kernel_init=transformer_init, **types)
        padded = functools.partial(padded_product, multiple=window)
        qkv = dense(3 * channels, dot_general=padded, name="qkv")(x)
        if shift:
            qkv = jnp.roll(qkv, (-shift, -shift), axis=(1, 2))
        _, height, width, _ = qkv.shape
        rows, columns, area = height // window, width // window, window * window
        qkv = qkv.reshape(batch, rows, window, columns, window, 3, heads, head_dim)
        qkv = qkv.transpose(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = qkv.reshape(3, batch, rows * columns, heads, area, head_dim)

        logits = jnp.einsum(
            "bnhqd,bnhkd->bnhqk",
            q * head_dim**-0.5,
            k,
            preferred_element_type=wide_type(self.dtype),
        )
        bias: jax.Array = spread(self._position_bias(), logits.shape)
        logits += bias
        if self.shifted:
            logits += shifted_region_mask(height, width, window)[None, :, None]
        weights = jax.nn.softmax(logits, axis=-1).astype(self.dtype)
        out = jnp.einsum("bnhqk,bnhkd->bnhqd", weights, v)

        # Windows and heads back to the map: (B, H, W, C).
        out = out.reshape(batch, rows, columns, heads, window, window, head_dim)
        out = out.transpose(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, channels)
        if shift:
            out = jnp.roll(out, (shift, shift), axis=(1, 2))
        out = out[:, : sides[0], : sides[1]]
        return dense(channels, name="proj")(out)

    def _position_bias(self) -> jax.Array:
        """Returns (heads, w², w²) in float32 or wider."""
        table = self.param(
            "relative_position_bias_table",
            transformer_init,
            ((2 * self.window - 1) ** 2, self.num_heads),
            self.param_dtype,
        )
        return at_least_float32(position_bias(table, self.window))


class SwinBlock(nn.Module):
    """Window attention and MLP, each pre-normalised and with a residual.

    Attributes:
      num_heads: attention heads.
      window: side of a window.
      shifted: whether windows are shifted by half their side.
      drop_path: probability that a sample skips a branch in training; may be traced.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    window: int
    shifted: bool
    drop_path: float | jax.Array
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        drop_path = DropPath(self.drop_path)
        attention = WindowAttention(self.num_heads, self.window, self.shifted, name="attn", **types)
        x = x + drop_path(attention(LayerNorm(name="norm1", **types)(x)), train)
        mlp = Mlp(MLP_RATIO * x.shape[-1], name="mlp", **types)
        return x + drop_path(mlp(LayerNorm(name="norm2", **types)(x)), train)
