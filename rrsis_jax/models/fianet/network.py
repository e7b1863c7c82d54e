"""FIANet (Lei et al., TGRS 2025): LAVT that reads the phrase three times.

The words for the object, the words for its place and the whole phrase are encoded apart by one
text encoder. Each stage aligns its map with all three, and the maps of all stages look at the
phrase together before the decoder.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.swin.stages import StagedSwin, SwinStage
from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.lavt.fusion import LanguageGate, PixelWordAttention, WordAttention
from rrsis_jax.models.lavt.network import TextGuidedNetwork
from rrsis_jax.models.layers.grouped_convolution import GroupedConv
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.mlp import Mlp
from rrsis_jax.models.layers.multi_scale import JointScales
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.types import Dtype, LayerTypes

CHANNEL_SQUEEZE = 8
WORDS = ("object", "position")  # kinds of words with features and masks of their own

Text = dict[str, jax.Array]


class ObjectPositionAlignment(nn.Module):
    """Brings the object's words to a map, where the words for its place point to.

    Known property: an object of one word says nothing. All positions receive the same value, and
    the instance normalisation of the attention removes it.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Text) -> jax.Array:
        """Maps (B, H, W, C) and the text's features and masks to (B, H, W, C)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attended = {
            words: WordAttention(name=f"{words}_attention", **types)(
                x, text[f"{words}_features"], text[f"{words}_mask"]
            )
            for words in WORDS
        }
        named = LanguageGate(name="object_gate", **types)(attended["object"]) * attended["object"]
        place = attended["position"]
        pooled = jnp.stack([jnp.mean(place, axis=-1), _largest(place)], axis=-1)
        weights = nn.sigmoid(GroupedConv(1, 1, use_bias=False, name="place", **types)(pooled))
        self.sow("intermediates", "position_map", weights)
        return named * weights


def _largest(x: jax.Array) -> jax.Array:
    """Returns the maximum over the last axis; its gradient goes to one place.

    The gradient of `jnp.max` asks which values equal the maximum. Where a compiler computes them
    twice with different round-off none does, and the gradient is not a number.
    """
    chosen = jax.nn.one_hot(jnp.argmax(x, axis=-1), x.shape[-1], dtype=x.dtype)
    return jnp.sum(x * chosen, axis=-1)


class ChannelWeights(nn.Module):
    """One weight for each channel, from the means over all positions.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to weights (B, 1, 1, C) in (0, 1)."""
        channels = x.shape[-1]

        def dense(name: str, features: int, x: jax.Array) -> jax.Array:
            types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            return nn.Dense(features, kernel_init=transformer_init, name=name, **types)(x)

        mean = jnp.mean(x, axis=(1, 2), keepdims=True)
        hidden = nn.relu(dense("fc1", channels // CHANNEL_SQUEEZE, mean))
        return nn.sigmoid(dense("fc2", channels, hidden))


class FianetStage(SwinStage):
    """Swin blocks, fusion with the phrase, alignment with object and place, channel weights.

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, text: Text, train: bool) -> tuple[jax.Array, jax.Array]:
        """Runs the stage.

        Args:
          x: trunk (B, H, W, C).
          text: features (B, N, D) and masks (B, N); see `FianetNetwork.encode_text`.
          train: whether dropout and DropPath act.

        Returns:
          The fused map (B, H, W, C), and the trunk for the next stage.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = self.run_blocks(x, train)
        attention = PixelWordAttention(
            self.fusion_heads, dropout=self.fusion_dropout, name="fusion", **types
        )
        fused = attention(x, text["features"], text["mask"], train)
        context = LanguageGate(name="gate", **types)(fused) * fused
        aligned = ObjectPositionAlignment(name="alignment", **types)(x, text)
        trunk = x + ChannelWeights(name="channels", **types)(x) * (context + aligned)
        self.sow("intermediates", "trunk", trunk)
        return fused, self.merged(trunk)


class FianetBackbone(StagedSwin):
    """Swin transformer whose stages align their maps with three kinds of words.

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0

    @nn.compact
    def __call__(self, image: jax.Array, text: Text, train: bool) -> tuple[jax.Array, ...]:
        """Returns the maps of all stages, see `StagedSwin.run_stages`."""
        stage = functools.partial(
            FianetStage, fusion_heads=self.fusion_heads, fusion_dropout=self.fusion_dropout
        )
        return self.run_stages([stage] * len(self.depths), image, text, train=train)


class TextAwareBlock(nn.Module):
    """Attention over the words and MLP, each pre-normalised and with a residual.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Text) -> jax.Array:
        """Maps (B, H, W, C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = WordAttention(name="attention", **types)
        x = x + attention(LayerNorm(name="norm1", **types)(x), text["features"], text["mask"])
        mlp = Mlp(2 * x.shape[-1], name="mlp", **types)
        return x + mlp(LayerNorm(name="norm2", **types)(x))


class TextAwareMixer(nn.Module):
    """Blocks that let the joint map of all scales look at the phrase.

    Attributes:
      depth: blocks.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    depth: int = 1
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Text, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape; training changes nothing."""
        del train
        for index in range(self.depth):
            x = TextAwareBlock(self.dtype, self.param_dtype, name=f"blocks_{index}")(x, text)
        return x


class FianetDecoder(nn.Module):
    """LAVT's decoder behind the text-aware mixing of all scales (TMEM).

    Attributes:
      hidden: channels between the joins.
      mixer_depth: text-aware blocks.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the classifier computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    hidden: int
    mixer_depth: int = 1
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, maps: tuple[jax.Array, ...], text: Text, train: bool) -> jax.Array:
        """Decodes maps to coarse logits.

        Args:
          maps: four maps (B, h, w, C), fine to coarse.
          text: "features" (B, N, D) and "mask" (B, N).
          train: whether batch statistics are the batch's.

        Returns:
          Logits (B, h, w, 2), float32 or wider, at the size of the finest map.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        mixer = TextAwareMixer(self.mixer_depth, name="mixer", **types)
        joint = JointScales(mixer, self.axis_name, name="scales", **types)
        maps = joint(maps, text, train=train)
        return LavtDecoder(self.hidden, self.axis_name, name="lavt", **types)(
            maps, text["features"], text["mask"], train
        )


class FianetNetwork(TextGuidedNetwork):
    """Segments what a phrase refers to; see the module's text."""

    def encode_text(self, text: Text, train: bool = False) -> Text:
        """Encodes the phrase, its object's words and its place's words with one set of weights.

        A mask hides words from the encoder too; one that marks no word hides none of them, as
        the published encoder's penalty of -10000 on every word does.

        Args:
          text: "input_ids", "attention_mask", "object_mask", "position_mask", int (B, N) each.
          train: whether dropout acts.

        Returns:
          "features", "object_features", "position_features" (B, N, D), float32 or wider; and
          "mask", "object_mask", "position_mask" (B, N).
        """
        masks = [text["attention_mask"], *(text[f"{words}_mask"] for words in WORDS)]
        joined = jnp.concatenate(masks)
        seen = jnp.where(jnp.any(joined > 0, axis=1, keepdims=True), joined, 1)
        ids = jnp.concatenate([text["input_ids"]] * len(masks))
        features = jnp.split(self.text_encoder(ids, seen, train), len(masks))
        encoded = {"features": features[0], "mask": masks[0]}
        for words, own, mask in zip(WORDS, features[1:], masks[1:], strict=True):
            encoded |= {f"{words}_features": own, f"{words}_mask": mask}
        return encoded
