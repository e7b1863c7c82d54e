"""Hiera with the phrase in every block: small adapters beside its frozen layers."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.sam2.hiera import Hiera, HieraBlock
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.transformer import PackedAttention, run_layers
from rrsis_jax.types import Dtype, LayerTypes

NARROWING = 4  # adapters are so many times narrower than their block
NUM_HEADS = 4
KEPT_TEXT = 0.8  # share of the text's state that a block leaves as it is
MLP_SHARE = 0.5  # factor of the adapter beside the feed-forward layer

Pair = tuple[jax.Array, jax.Array]


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
        width = map_.shape[-1]
        dense = functools.partial(nn.Dense, kernel_init=transformer_init, **types)
        attention = functools.partial(PackedAttention, NUM_HEADS, **types)
        narrow = exact_gelu(dense(width // NARROWING, name="fc1")(map_))
        shape, narrow = narrow.shape, narrow.reshape(len(narrow), -1, narrow.shape[-1])
        words = dense(width // NARROWING, name="text_in")(text)
        narrow = narrow + attention(name="map_reads")(narrow, words, words, mask)
        words = words + attention(name="text_reads")(words, narrow, narrow)
        change = dense(text.shape[-1], name="text_out")(words)
        text = KEPT_TEXT * text + (1.0 - KEPT_TEXT) * change
        return map_ + dense(width, name="fc2")(narrow.reshape(shape)), text


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
        dense = functools.partial(nn.Dense, kernel_init=transformer_init, **types)
        inner = exact_gelu(dense(x.shape[-1] // NARROWING, name="fc1")(x))
        return dense(x.shape[-1], name="fc2")(inner)


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
