"""From four fused maps to coarse logits: the LAVT decoder, and LGCE's cross-scale block.

Sources: LAVT (Yang et al., CVPR 2022), section 3.4; LGCE (Yuan et al., TGRS 2024).
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.layers.attention import multi_head_attention
from rrsis_jax.models.layers.initializers import uniform_inits
from rrsis_jax.models.layers.mlp import Mlp, exact_gelu
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.types import Dtype, LayerTypes


class SelfAttention(nn.Module):
    """Multi-head self-attention without bias on q, k and v.

    Attributes:
      num_heads: attention heads.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps (B, T, C) to the same shape."""
        channels = tokens.shape[-1]
        dense = functools.partial(
            nn.Dense,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            **uniform_inits(channels),
        )
        qkv = dense(3 * channels, use_bias=False, name="qkv")(tokens)
        query, key, value = jnp.split(qkv, 3, axis=-1)
        attended = multi_head_attention(query, key, value, self.num_heads)
        return dense(channels, name="proj")(attended)


class TokenAttention(nn.Module):
    """Attends from the first token over all tokens.

    Attributes:
      num_heads: attention heads.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps (B, T, C) to the new first token (B, 1, C)."""
        dense = functools.partial(
            nn.Dense,
            tokens.shape[-1],
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            **uniform_inits(tokens.shape[-1]),
        )
        query = dense(use_bias=False, name="query")(tokens[:, :1])
        key = dense(use_bias=False, name="key")(tokens)
        value = dense(use_bias=False, name="value")(tokens)
        return dense(name="proj")(multi_head_attention(query, key, value, self.num_heads))


class TransformerBlock(nn.Module):
    """Self-attention and MLP, each pre-normalised and with a residual.

    Attributes:
      num_heads: attention heads.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps (B, T, C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = SelfAttention(self.num_heads, name="attn", **types)
        tokens = tokens + attention(LayerNorm(name="norm1", **types)(tokens))
        mlp = Mlp(2 * tokens.shape[-1], uniform_inits, name="mlp", **types)
        return tokens + mlp(LayerNorm(name="norm2", **types)(tokens))


class TokenProjection(nn.Module):
    """Layer norm, GELU and a linear layer: carries a guide token to another scale's width.

    Attributes:
      features: width of the result.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, token: jax.Array) -> jax.Array:
        """Maps (B, 1, C) to (B, 1, features)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        inits = uniform_inits(token.shape[-1])
        return nn.Dense(self.features, name="linear", **inits, **types)(
            exact_gelu(LayerNorm(name="norm", **types)(token))
        )


class TokenExchange(nn.Module):
    """A guide token visits the other scale, attends over its positions and returns.

    Attributes:
      num_heads: attention heads at the visited scale.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, token: jax.Array, visited: jax.Array) -> jax.Array:
        """Maps a token (B, 1, C) and positions (B, P, F) to the returned token (B, 1, C)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        guest = TokenProjection(visited.shape[-1], name="go", **types)(token)
        tokens = jnp.concatenate([guest, visited], axis=1)
        attention = TokenAttention(self.num_heads, name="attn", **types)
        guest = guest + attention(LayerNorm(name="norm", **types)(tokens))
        return TokenProjection(token.shape[-1], name="back", **types)(guest)


class Modulation(nn.Module):
    """Scales and shifts every channel of a map by what a token says (FiLM, Perez et al., 2018).

    Starts as the identity, so that weights trained without it keep their outputs.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, positions: jax.Array, token: jax.Array) -> jax.Array:
        """Maps positions (B, P, C) and a token (B, 1, C) to new positions."""
        both = nn.Dense(
            2 * positions.shape[-1],
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="linear",
        )(token)
        scale, shift = jnp.split(both, 2, axis=-1)
        return positions * (1.0 + scale) + shift


class CrossScaleBlock(nn.Module):
    """Transformer over two scales whose guide tokens change places (the CrossViT layout).

    Known property of the reference: the decoder reads positions only, so what the guide
    tokens bring back reaches no logit. The exchange is computed all the same, which keeps its
    parameters in the tree and in checkpoints; under `jit` XLA removes its arithmetic, and they are
    not optimised (`Lgce.without_gradient`). With `live`
    the returned tokens modulate the positions of their scale.

    Attributes:
      depths: transformer blocks of the finer and of the coarser scale.
      num_heads: attention heads of the finer and of the coarser scale.
      live: whether the returned guide tokens reach the positions; not in the paper.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    depths: tuple[int, int] = (1, 3)
    num_heads: tuple[int, int] = (8, 16)
    live: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, fine: jax.Array, coarse: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps token sequences (B, 1 + P, C) and (B, 1 + Q, F), guide first, to the same."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        fine_heads, coarse_heads = self.num_heads
        for index in range(self.depths[0]):
            fine = TransformerBlock(fine_heads, name=f"fine_blocks_{index}", **types)(fine)
        for index in range(self.depths[1]):
            coarse = TransformerBlock(coarse_heads, name=f"coarse_blocks_{index}", **types)(coarse)
        to_coarse = TokenExchange(coarse_heads, name="fine_to_coarse", **types)
        to_fine = TokenExchange(fine_heads, name="coarse_to_fine", **types)
        fine_guide = to_coarse(fine[:, :1], coarse[:, 1:])
        coarse_guide = to_fine(coarse[:, :1], fine[:, 1:])
        fine, coarse = fine[:, 1:], coarse[:, 1:]
        if self.live:
            fine = Modulation(name="modulate_fine", **types)(fine, fine_guide)
            coarse = Modulation(name="modulate_coarse", **types)(coarse, coarse_guide)
        return (
            jnp.concatenate([fine_guide, fine], axis=1),
            jnp.concatenate([coarse_guide, coarse], axis=1),
        )


class LgceDecoder(nn.Module):
    """LAVT's decoder behind a language-guided cross-scale block on the two coarsest maps.

    Two more such blocks of the reference's state dict are never called there and do not exist
    here; the weight export fills their names.

    Attributes:
      hidden: channels between the joins of the LAVT decoder.
      guide_over_words: whether the guide is the mean over real tokens, not over padding too.
      live_guide: whether the exchanged guide tokens reach the positions.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the classifier computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    hidden: int
    guide_over_words: bool = False
    live_guide: bool = False
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: tuple[jax.Array, ...],
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool,
    ) -> jax.Array:
        """Decodes maps to coarse logits.

        Args:
          features: four maps (B, h, w, C), fine to coarse.
          text_features: (B, N, D); its mean is the guide, in the paper over all N positions,
            padding included.
          attention_mask: (B, N), 1 on real tokens.
          train: whether batch statistics are taken from the batch.

        Returns:
          Logits (B, h, w, 2), float32 or wider, at the size of the finest map.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        *rest, c3, c4 = features
        counted = attention_mask[:, :, None] > 0 if self.guide_over_words else None
        guide = jnp.mean(text_features, axis=1, keepdims=True, where=counted)
        inits = uniform_inits(guide.shape[-1])
        t3 = _with_guide(nn.Dense(c3.shape[-1], name="guide_c3", **inits, **types)(guide), c3)
        t4 = _with_guide(nn.Dense(c4.shape[-1], name="guide_c4", **inits, **types)(guide), c4)
        t3, t4 = CrossScaleBlock(live=self.live_guide, name="cross_scale", **types)(t3, t4)
        c3, c4 = t3[:, 1:].reshape(c3.shape), t4[:, 1:].reshape(c4.shape)
        return LavtDecoder(self.hidden, self.axis_name, name="lavt", **types)(
            (*rest, c3, c4), text_features, attention_mask, train
        )


def _with_guide(guide: jax.Array, feature_map: jax.Array) -> jax.Array:
    """Puts a guide (B, 1, C) before the positions of a map (B, H, W, C): (B, 1 + HW, C)."""
    positions = feature_map.reshape(feature_map.shape[0], -1, feature_map.shape[-1])
    return jnp.concatenate([guide, positions], axis=1)
