"""Hiera (Ryali et al., ICML 2023) with windows as SAM 2 has it, and the feature pyramid behind."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.adapters import Conv, Dense, Lora
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.transformer import (
    FeedForward,
    LayerNorm,
    attend,
    from_windows,
    run_layers,
    to_windows,
)
from rrsis_jax.types import Dtype, LayerTypes

PATCH_STRIDE = 4
MLP_RATIO = 4

LayerNorm6 = functools.partial(LayerNorm, epsilon=1e-6)
_halve = functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))


class HieraAttention(nn.Module):
    """Self-attention over a square, whose queries may be pooled to half its sides.

    Attributes:
      width: channels D of the result.
      num_heads: attention heads.
      pool: whether queries are pooled.
      lora: see `Lora`.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    width: int
    num_heads: int
    pool: bool
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, S, T, C) to (B, S, T, D), or to (B, S / 2, T / 2, D) if queries are pooled."""
        dense = functools.partial(
            Dense,
            lora=self.lora,
            kernel_init=transformer_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        query, key, value = jnp.split(dense(3 * self.width, name="qkv")(x, train), 3, axis=-1)
        if self.pool:
            query = _halve(query)
        q, k, v = (part.reshape(part.shape[0], -1, self.width) for part in (query, key, value))
        attended = attend(q, k, v, self.num_heads, train=train).reshape(query.shape)
        return dense(self.width, name="proj")(attended, train)


class HieraBlock(nn.Module):
    """Attention and feed-forward, each pre-normalised and with a residual.

    Attributes:
      width: channels D of the result.
      num_heads: attention heads.
      window: side of a window before pooling; 0 for attention over the whole map.
      pool: whether the map is halved; then the residual is projected and pooled as well.
      lora: see `Lora`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    width: int
    num_heads: int
    window: int
    pool: bool
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H, W, D), or to (B, H / 2, W / 2, D) if it pools."""
        shortcut, attended = self._attend(x, train)
        x = shortcut + attended
        return x + self._feed_forward(self._second_norm(x), train)

    def _types(self) -> LayerTypes:
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def _attend(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Returns what the attention adds to, and what it adds."""
        normal = LayerNorm6(name="norm1", **self._types())(x)
        if self.pool:
            project = Dense(
                self.width,
                lora=self.lora,
                kernel_init=transformer_init,
                name="proj",
                **self._types(),
            )
            x = _halve(project(normal, train))
        attention = HieraAttention(
            self.width, self.num_heads, self.pool, self.lora, name="attn", **self._types()
        )
        if not self.window:
            return x, attention(normal, train)
        windows = attention(to_windows(normal, self.window), train)
        return x, from_windows(windows, *x.shape[1:3])

    def _second_norm(self, x: jax.Array) -> jax.Array:
        return LayerNorm6(name="norm2", **self._types())(x)

    def _feed_forward(self, normal: jax.Array, train: bool) -> jax.Array:
        mlp = FeedForward(MLP_RATIO * self.width, lora=self.lora, name="mlp", **self._types())
        return mlp(normal, train)


def block_fields(
    embed_dim: int,
    num_heads: int,
    depths: Sequence[int],
    windows: Sequence[int],
    global_blocks: Sequence[int],
) -> list[list[dict[str, Any]]]:
    """Returns the fields of each stage's blocks; blocks are counted through all stages.

    Width and heads double from stage to stage. The first block of a later stage pools, and still
    has the window of the stage before.
    """
    stages, number = [], 0
    for stage, depth in enumerate(depths):
        blocks = []
        for index in range(depth):
            pool = stage > 0 and index == 0
            window = windows[stage - 1] if pool else windows[stage]
            fields = {
                "name": f"blocks_{number}",
                "width": embed_dim * 2**stage,
                "num_heads": num_heads * 2**stage,
                "window": 0 if number in global_blocks else window,
                "pool": pool,
            }
            blocks.append(fields)
            number += 1
        stages.append(blocks)
    return stages


class Hiera(nn.Module):
    """Hierarchical vision transformer of four stages.

    Attributes:
      embed_dim: channels of the first stage, doubled at each later one.
      num_heads: attention heads of the first stage, likewise.
      depths: blocks of each stage.
      windows: side of each stage's windows.
      global_blocks: which blocks attend over the whole map, counted through all stages.
      background: side of the position table that is resized to the map.
      lora: see `Lora`.
      remat: whether blocks are recomputed in the backward pass.
      scan: whether equal neighbouring blocks are compiled once.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    embed_dim: int
    num_heads: int
    depths: tuple[int, ...]
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]
    background: int
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> tuple[jax.Array, ...]:
        """Maps the normalised image (B, H, W, 3) to the maps of strides 4, 8, 16 and 32.

        Raises:
          ValueError: if a side of the image is no multiple of 32, or of four times the first
            window, in whose raster positions are learned.
        """
        x, maps = self._embed(image), []
        for fields in self._stages():
            x = run_layers(self, HieraBlock, fields, x, train, remat=self.remat, scan=self.scan)
            maps.append(x)
        return tuple(maps)

    def _embed(self, image: jax.Array) -> jax.Array:
        """Maps the image (B, H, W, 3) to patches with positions, (B, H / 4, W / 4, C)."""
        step = int(
            np.lcm(PATCH_STRIDE * 2 ** (len(self.depths) - 1), PATCH_STRIDE * self.windows[0])
        )
        if image.shape[1] % step or image.shape[2] % step:
            raise ValueError(
                f"SAM 2's image encoder got an image of {image.shape[1]}×{image.shape[2]} pixels; "
                f"expected sides that are multiples of {step}, as 1024. Resize or pad the image."
            )
        x = nn.Conv(
            self.embed_dim,
            (7, 7),
            (PATCH_STRIDE, PATCH_STRIDE),
            ((3, 3), (3, 3)),
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="patch_embed",
        )(image)
        return x + self._positions(*x.shape[1:3]).astype(x.dtype)

    def _stages(self) -> list[list[dict[str, Any]]]:
        """Returns the fields of each stage's blocks, see `block_fields`."""
        shared = {"lora": self.lora, "dtype": self.dtype, "param_dtype": self.param_dtype}
        stages = block_fields(
            self.embed_dim, self.num_heads, self.depths, self.windows, self.global_blocks
        )
        return [[{**block, **shared} for block in blocks] for blocks in stages]

    def _positions(self, height: int, width: int) -> jax.Array:
        """Returns (1, height, width, C): a table resized to the map, one repeated over windows."""

        def table(name: str, side: int) -> jax.Array:
            shape = (1, side, side, self.embed_dim)
            return self.param(name, transformer_init, shape, self.param_dtype)

        side = self.windows[0]
        background = interpolation.resize(
            table("pos_embed", self.background), height, width, "cubic"
        )
        window = jnp.tile(table("pos_embed_window", side), (1, height // side, width // side, 1))
        return background + window


class FeaturePyramid(nn.Module):
    """Brings the stages' maps to one width (Lin et al., CVPR 2017).

    Only the map of stride 32 is added to a finer one, that of stride 16.

    Attributes:
      features: channels D of the results.
      lora: see `Lora`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, maps: Sequence[jax.Array], train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Maps those of strides 4, 8, 16, 32 to (B, h, w, D) of strides 4, 8 and 16."""
        lateral = [
            Conv(
                self.features,
                (1, 1),
                lora=self.lora,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"convs_{len(maps) - 1 - stage}",  # counted from the coarsest
            )(x, train)
            for stage, x in enumerate(maps)
        ]
        stride4, stride8, stride16, stride32 = lateral
        return stride4, stride8, stride16 + stride32.repeat(2, axis=1).repeat(2, axis=2)
