"""Hiera with the phrase in every block: small adapters beside its frozen layers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.sam2.hiera import Hiera, HieraBlock
from rrsis_jax.models.layers.initializers import uniform_init, uniform_inits
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.transformer import PackedAttention, run_layers
from rrsis_jax.types import Dtype, LayerTypes

NARROWING = 4  # adapters are so many times narrower than their block
NUM_HEADS = 4
KEPT_TEXT = 0.8  # share of the text's state that a block leaves as it is
MLP_SHARE = 0.5  # factor of the adapter beside the feed-forward layer

Pair = tuple[jax.Array, jax.Array]

# What stands between the encoders starts as PyTorch's layers do.
fresh_attention = functools.partial(
    PackedAttention, packed_init=nn.initializers.glorot_uniform(), kernel_init=uniform_init
)


def fresh_dense(fan_in: int, features: int, **fields: Any) -> nn.Dense:
    """Returns a linear layer whose kernel and bias are uniform within ±1 / sqrt(fan-in)."""
    return nn.Dense(features, **uniform_inits(fan_in), **fields)


class SpaceAdapter(nn.Module):
    """Lets a map and the words read each other.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, map_: jax.Array, text: jax.Array, mask: jax.Array) -> Pair:
        """Updates both.

        Args:
          map_: what the block's attention adds, (B, H, W, C).
          text: state of the words (B, N, D).
          mask: (B, N), nonzero on words that the map reads.

        Returns:
          Map and text of the shapes they came in.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width, features = map_.shape[-1], text.shape[-1]
        inner = width // NARROWING
        dense = functools.partial(fresh_dense, **types)
        attention = functools.partial(fresh_attention, NUM_HEADS, **types)
        narrow = exact_gelu(dense(width, inner, name="fc1")(map_))
        shape, narrow = narrow.shape, narrow.reshape(narrow.shape[0], -1, inner)
        words = dense(features, inner, name="text_in")(text)
        narrow = narrow + attention(name="map_reads")(narrow, words, words, mask)
        words = words + attention(name="text_reads")(words, narrow, narrow)
        change = dense(inner, features, name="text_out")(words)
        text = KEPT_TEXT * text + (1.0 - KEPT_TEXT) * change
        return map_ + dense(inner, width, name="fc2")(narrow.reshape(shape)), text


class MlpAdapter(nn.Module):
    """A narrow feed-forward layer.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (..., C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width = x.shape[-1]
        inner = width // NARROWING
        narrow = exact_gelu(fresh_dense(width, inner, name="fc1", **types)(x))
        return fresh_dense(inner, width, name="fc2", **types)(narrow)


class FusedBlock(HieraBlock):
    """A block of Hiera with two adapters; the words go through it beside the map."""

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - words come too
        self, pair: Pair, mask: jax.Array, train: bool
    ) -> Pair:
        """Maps the map (B, H, W, C) and the words (B, N, D), see `HieraBlock`, `SpaceAdapter`."""
        x, text = pair
        shortcut, attended = self._attend(x, train)
        adapter = SpaceAdapter(name="space_adapter", **self._types())
        attended, text = adapter(attended, text, mask)
        x = shortcut + attended
        normal = self._second_norm(x)
        narrow = MlpAdapter(name="mlp_adapter", **self._types())(normal)
        return x + self._feed_forward(normal, train) + MLP_SHARE * narrow, text


class FusedHiera(Hiera):
    """Hiera whose blocks read the phrase."""

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - words come too
        self, image: jax.Array, text: jax.Array, mask: jax.Array, train: bool = False
    ) -> tuple[jax.Array, ...]:
        """Maps the normalised image (B, H, W, 3) to the maps of strides 4, 8, 16 and 32.

        Args:
          image: as of `Hiera`.
          text: words (B, N, D).
          mask: (B, N), nonzero on words that maps read.
          train: whether dropout of low-rank adapters acts.
        """
        pair, maps = (self._embed(image), text), []
        for fields in self._stages():
            pair = run_layers(
                self, FusedBlock, fields, pair, mask, train, remat=self.remat, scan=self.scan
            )
            maps.append(pair[0])
        return tuple(maps)
