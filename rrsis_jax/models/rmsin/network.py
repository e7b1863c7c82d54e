"""RMSIN (Liu et al., CVPR 2024): LAVT with three more interactions.

Each stage looks at its own map for where it is strong (intra-scale), the maps of all stages are
mixed by attention over three resolutions (cross-scale), and the decoder's second convolutions turn
with the objects (adaptive rotated convolution).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.swin.stages import StagedSwin
from rrsis_jax.models.lavt.decoder import NUM_CLASSES
from rrsis_jax.models.lavt.fusion import PixelWordAttention
from rrsis_jax.models.lavt.intra_scale import IntraScaleStage
from rrsis_jax.models.lavt.network import TextGuidedNetwork
from rrsis_jax.models.layers.convolution import ConvBnRelu
from rrsis_jax.models.layers.grouped_convolution import GroupedConv
from rrsis_jax.models.layers.initializers import transformer_init, uniform_inits
from rrsis_jax.models.layers.multi_scale import JointScales, hard_sigmoid
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.models.layers.resize import resize_aligned
from rrsis_jax.models.layers.rotated_convolution import RotatedConv
from rrsis_jax.types import Dtype, LayerTypes

HEADS, KEY_WIDTH, VALUE_WIDTH = 8, 32, 64  # of the cross-scale attention, whatever its input


class RmsinStage(IntraScaleStage):
    """A stage whose map meets the words by pixel-word attention.

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, text: dict[str, jax.Array], train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the stage.

        Args:
          x: trunk (B, H, W, C).
          text: "features" (B, N, D) and "mask" (B, N).
          train: whether dropout and DropPath act and batch statistics are the batch's.

        Returns:
          The fused map (B, H, W, C), and the trunk for the next stage.
        """
        x = self.run_blocks(x, train)
        attention = PixelWordAttention(
            self.fusion_heads, self.dtype, self.param_dtype, self.fusion_dropout, name="fusion"
        )
        fused = attention(x, text["features"], text["mask"], train)
        return fused, self.joined(x, fused, train)


class RmsinBackbone(StagedSwin):
    """Language-aware Swin transformer with intra-scale interaction.

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
      axis_name: mapped axis that batch statistics are synchronised over.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0
    axis_name: str | None = None

    @nn.compact
    def __call__(
        self, image: jax.Array, text: dict[str, jax.Array], train: bool
    ) -> tuple[jax.Array, ...]:
        """Returns the maps of all stages, see `StagedSwin.run_stages`."""
        stage = functools.partial(
            RmsinStage,
            fusion_heads=self.fusion_heads,
            fusion_dropout=self.fusion_dropout,
            axis_name=self.axis_name,
        )
        return self.run_stages([stage] * len(self.depths), image, text, train=train)


def token_count(side: int) -> int:
    """Returns how many tokens a square map has at full, half and a third of its resolution."""
    return side**2 + (-(-side // 2)) ** 2 + (-(-side // 3)) ** 2


class CrossScaleAttention(nn.Module):
    """Attends over a map's positions at three resolutions, and brings the result to the map.

    Two quirks of the published code are the default. The attended values, in the order (token,
    head, channel), are read as if they were (head and channel, token); and the values of the map,
    in the order (head, position, channel), as if they were (head and channel, position). Both mix
    positions with channels. With `ordered` the axes change places instead.

    The linear layer over tokens ties the module to one size of map.

    Attributes:
      ordered: whether positions stay positions; not in the paper's code.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    ordered: bool = False
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, n, n, C) to what is added to it, of the same shape."""
        batch, height, width, channels = x.shape
        area, inner = height * width, HEADS * VALUE_WIDTH
        x = self._normed("bn_in", x, train)
        tokens = self._tokens(x, train)
        count = tokens.shape[1]
        split = HEADS * (2 * KEY_WIDTH + VALUE_WIDTH)
        qkv = self._dense("qkv", split, tokens, use_bias=False, kernel_init=transformer_init)
        qkv = self._normed("bn_qkv", qkv, train)
        qkv = qkv.reshape(batch, count, HEADS, -1)
        query, key, value = jnp.split(qkv, (KEY_WIDTH, 2 * KEY_WIDTH), axis=-1)
        logits = jnp.einsum(
            "bqhd,bkhd->bhqk", query, key, preferred_element_type=wide_type(self.dtype)
        )
        weights = jax.nn.softmax(logits * KEY_WIDTH**-0.5, axis=-1).astype(self.dtype)
        attended = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(batch, count, inner)
        local = value[:, :area].transpose(0, 2, 1, 3)  # (B, heads, positions, channels)
        if self.ordered:
            attended = attended.swapaxes(1, 2)
            local = local.swapaxes(2, 3)
        # From here on as (B, heads and channels, tokens or positions).
        attended, local = attended.reshape(batch, inner, count), local.reshape(batch, inner, area)
        local = local.swapaxes(1, 2).reshape(batch, height, width, inner)
        self.sow("intermediates", "attended", attended)
        self.sow("intermediates", "local", local)

        attended = self._dense("proj", area, attended, kernel_init=transformer_init)
        local = GroupedConv(inner, inner, name="local_conv", **self._types)(
            local * hard_sigmoid(local)
        )
        positions = attended.swapaxes(1, 2) + local.reshape(batch, area, inner)
        x = self._dense("out", channels, positions, kernel_init=transformer_init)
        x = self._normed("bn_out", x.reshape(batch, height, width, channels), train)
        return self._dense("point", channels, x * hard_sigmoid(x), **uniform_inits(channels))

    @property
    def _types(self) -> LayerTypes:
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def _normed(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return BatchNorm(axis_name=self.axis_name, name=name, **self._types)(x, train)

    def _dense(self, name: str, features: int, x: jax.Array, **fields: Any) -> jax.Array:
        return nn.Dense(features, name=name, **fields, **self._types)(x)

    def _tokens(self, x: jax.Array, train: bool) -> jax.Array:
        """Returns (B, T, C): the map's positions, then those at half and a third of its sides."""
        batch, _, _, channels = x.shape

        def coarser(name: str, size: int, stride: int) -> jax.Array:
            conv = GroupedConv(channels, channels, size, stride, name=name, **self._types)
            return self._normed(f"bn_{name}", conv(x), train)

        maps = [x, coarser("half", 3, 2), coarser("third", 5, 3)]
        tokens = jnp.concatenate([m.reshape(batch, -1, channels) for m in maps], axis=1)
        self.sow("intermediates", "tokens", tokens)
        return tokens


class ConvFeedForward(nn.Module):
    """1×1 convolution, 3×3 convolution in pairs of channels, ReLU6, 1×1 convolution.

    Attributes:
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to what is added to it, of the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        channels = x.shape[-1]

        def normed(name: str, x: jax.Array) -> jax.Array:
            return BatchNorm(axis_name=self.axis_name, name=name, **types)(x, train)

        def dense(name: str, features: int, x: jax.Array) -> jax.Array:
            return nn.Dense(features, name=name, **uniform_inits(x.shape[-1]), **types)(x)

        x = normed("bn_inner", dense("fc1", 2 * channels, normed("bn_in", x)))
        x = jax.nn.relu6(GroupedConv(2 * channels, channels, name="conv", **types)(x))
        return dense("fc2", channels, x)


class CrossScaleMixer(nn.Module):
    """Attention, feed-forward within each scale, attention, feed-forward; each with a residual.

    Attributes:
      ordered: see `CrossScaleAttention`.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    ordered: bool = False
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, n, n, 15 k) to the same shape; its channels are the scales' (1 : 2 : 4 : 8)."""
        fields = {
            "axis_name": self.axis_name,
            "dtype": self.dtype,
            "param_dtype": self.param_dtype,
        }
        unit = x.shape[-1] // 15

        def step(name: str, x: jax.Array, change: jax.Array) -> jax.Array:
            self.sow("intermediates", name, x + change)
            return x + change

        x = step(
            "attended1",
            x,
            CrossScaleAttention(self.ordered, name="attention1", **fields)(x, train),
        )
        pieces = jnp.split(x, (unit, 3 * unit, 7 * unit), axis=-1)
        # The input counts twice: each piece has its residual, and the whole has one.
        within = [
            piece + ConvFeedForward(name=f"within_{index}", **fields)(piece, train)
            for index, piece in enumerate(pieces)
        ]
        x = step("within", x, jnp.concatenate(within, axis=-1))
        x = step(
            "attended2",
            x,
            CrossScaleAttention(self.ordered, name="attention2", **fields)(x, train),
        )
        return x + ConvFeedForward(name="feed_forward", **fields)(x, train)


class RmsinDecoder(nn.Module):
    """Mixes the maps of all scales, joins them from coarse to fine, classifies every position.

    Attributes:
      hidden: channels between the joins.
      ordered: see `CrossScaleAttention`.
      routing_dropout: dropout before a kernel's strength and angle.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the classifier computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    hidden: int
    ordered: bool = False
    routing_dropout: float = 0.2
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, maps: tuple[jax.Array, ...], text: dict[str, jax.Array], train: bool
    ) -> jax.Array:
        """Decodes maps to coarse logits.

        Args:
          maps: four maps (B, h, w, C), fine to coarse.
          text: not looked at.
          train: whether batch statistics are the batch's and dropout acts.

        Returns:
          Logits (B, h, w, 2), float32 or wider, at the size of the finest map.
        """
        del text
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        fields = {"axis_name": self.axis_name, **types}
        mixer = CrossScaleMixer(self.ordered, name="mixer", **fields)
        *finer, x = JointScales(mixer, name="cross_scale", **fields)(maps, train=train)
        for level, finer_map in reversed(list(enumerate(finer, start=1))):
            x = jnp.concatenate([resize_aligned(x, *finer_map.shape[1:3]), finer_map], axis=-1)
            x = ConvBnRelu(self.hidden, name=f"join_c{level}", **fields)(x, train)
            turned = RotatedConv(self.hidden, self.routing_dropout, name=f"turn_c{level}", **types)
            x = turned(x, train)
            x = nn.relu(BatchNorm(name=f"turn_c{level}_bn", **fields)(x, train))
        return nn.Dense(
            NUM_CLASSES,
            dtype=wide_type(self.dtype),
            param_dtype=self.param_dtype,
            name="classifier",
            **uniform_inits(self.hidden),
        )(x)


class RmsinNetwork(TextGuidedNetwork):
    """Segments what a phrase refers to; see the module's text."""
