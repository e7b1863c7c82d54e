"""How AeroReformer's maps meet the words: the vision-language cross-attention module."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.initializers import transformer_init, uniform_inits
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.normalization import LayerNorm, instance_norm
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.types import Dtype, LayerTypes

FEED_FORWARD_RATIO = 4


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention whose inputs are projected once more.

    Attributes:
      num_heads: attention heads.
      dropout: rate on the attention weights.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int
    dropout: float = 0.1
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, train: bool
    ) -> jax.Array:
        """Attends from positions over words.

        Args:
          query: (B, P, C).
          key: (B, N, C).
          value: (B, N, C).
          mask: (B, N), 1 on real tokens; the others get no weight.
          train: whether dropout acts.

        Returns:
          (B, P, C).
        """
        channels = query.shape[-1]
        heads, head_dim = self.num_heads, channels // self.num_heads
        kernel = self.param(
            "in_kernel",
            nn.initializers.xavier_uniform(),
            (channels, 3 * channels),
            self.param_dtype,
        )
        bias = self.param("in_bias", nn.initializers.zeros, (3 * channels,), self.param_dtype)
        query, key, value = (
            (x @ w.astype(self.dtype) + b.astype(self.dtype).reshape(1, 1, -1)).reshape(
                *x.shape[:-1], heads, head_dim
            )
            for x, w, b in zip(
                (query, key, value),
                jnp.split(kernel, 3, axis=-1),
                jnp.split(bias, 3),
                strict=True,
            )
        )
        wide = wide_type(self.dtype)
        logits = jnp.einsum(
            "bphd,bnhd->bhpn", query * head_dim**-0.5, key, preferred_element_type=wide
        )
        logits = jnp.where(mask[:, None, None, :] > 0, logits, jnp.finfo(wide).min)
        weights = jax.nn.softmax(logits, axis=-1).astype(self.dtype)
        weights = nn.Dropout(self.dropout, deterministic=not train)(weights)
        attended = jnp.einsum("bhpn,bnhd->bphd", weights, value).reshape(*query.shape[:2], channels)
        return nn.Dense(
            channels,
            kernel_init=transformer_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="out",
        )(attended)


class VisionLanguageCrossAttention(nn.Module):
    """Attends over the words, with a feed-forward after it, and weights the map with the result.

    Attributes:
      num_heads: attention heads.
      dropout: rate on the projected image and on the result.
      inner_dropout: rate inside attention and feed-forward, a constant of the published code.
      dtype: compute type; logits, softmax and normalisation are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int = 1
    dropout: float = 0.0
    inner_dropout: float = 0.1
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, words: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C), features of words (B, N, D) and mask (B, N) to (B, H, W, C)."""
        channels = x.shape[-1]
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        inner_dropout = nn.Dropout(self.inner_dropout, deterministic=not train)

        def dense(name: str, inputs: jax.Array, features: int = channels) -> jax.Array:
            inits = uniform_inits(inputs.shape[-1])
            return nn.Dense(features, name=name, **inits, **types)(inputs)

        positions = x.reshape(x.shape[0], -1, channels)
        visual = dropout(exact_gelu(dense("vis_project", positions)))
        # Called positional in the paper's code; it is the same at every position.
        offset = self.param(
            "query_offset", nn.initializers.normal(1.0), (channels,), self.param_dtype
        )
        query = instance_norm(dense("query", positions))
        query += offset.astype(self.dtype).reshape(1, 1, -1)
        self.sow("intermediates", "visual_map", visual)
        self.sow("intermediates", "query_map", query)
        attention = MultiHeadAttention(
            self.num_heads, self.inner_dropout, name="attention", **types
        )
        attended = attention(query, dense("key", words), dense("value", words), mask, train)
        attended = instance_norm(dense("attended", attended))
        self.sow("intermediates", "attended_map", attended)
        attended = LayerNorm(name="norm_attn", **types)(attended)
        hidden = dense("fc1", attended, FEED_FORWARD_RATIO * channels)
        change = inner_dropout(dense("fc2", inner_dropout(nn.relu(hidden))))
        language = LayerNorm(name="norm_ffn", **types)(attended + change)
        return dropout(exact_gelu(dense("project_mm", visual * language))).reshape(x.shape)
