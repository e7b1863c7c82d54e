"""Where language meets the image: pixel-word attention and the language gate.

Source: LAVT (Yang et al., CVPR 2022), section 3.2 and 3.3; LGCE keeps both.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers import Dtype, exact_gelu, instance_norm

PADDING_PENALTY = 1e4  # subtracted from the attention logits of padded words


class PixelWordAttention(nn.Module):
    """Attends from every position of a map over the words (PWAM).

    Known property: with a single real word all positions receive the same value, and the
    instance normalisation after it magnifies round-off. A tokenized phrase has three at least.

    Attributes:
      num_heads: attention heads; logits are scaled by the full width whatever their number.
      dropout: rate on the projected image and on the result.
      dtype: compute type; logits, softmax and normalisation are float32.
      param_dtype: type of the parameters.
    """

    num_heads: int = 1
    dropout: float = 0.0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, text_features: jax.Array, attention_mask: jax.Array, train: bool
    ) -> jax.Array:
        """Returns the language-aware map.

        Args:
          x: map (B, H, W, C).
          text_features: (B, N, D).
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout acts.

        Returns:
          Array (B, H, W, C) of the compute type.
        """
        batch, height, width, channels = x.shape
        dense = functools.partial(
            nn.Dense, channels, dtype=self.dtype, param_dtype=self.param_dtype
        )
        dropout = nn.Dropout(self.dropout, deterministic=not train)
        positions = x.reshape(batch, height * width, channels)

        visual = dropout(exact_gelu(dense(name="vis_project")(positions)))
        query = instance_norm(dense(name="query")(positions))
        mask = attention_mask.astype(self.dtype)[:, :, None]
        key = dense(name="key")(text_features) * mask
        value = dense(name="value")(text_features) * mask
        attended = self._attend(query, key, value, attention_mask)
        language = instance_norm(dense(name="out")(attended))

        fused = dropout(exact_gelu(dense(name="project_mm")(visual * language)))
        return fused.reshape(batch, height, width, channels)

    def _attend(
        self, query: jax.Array, key: jax.Array, value: jax.Array, attention_mask: jax.Array
    ) -> jax.Array:
        """Attends from positions (B, P, C) over words (B, N, C); returns (B, P, C)."""
        channels = query.shape[-1]
        split = (*query.shape[:-1], self.num_heads, channels // self.num_heads)
        words = (*key.shape[:-1], *split[-2:])
        logits = jnp.einsum(
            "bphd,bnhd->bhpn",
            query.reshape(split),
            key.reshape(words),
            preferred_element_type=jnp.float32,
        )
        penalty = PADDING_PENALTY * attention_mask.astype(jnp.float32) - PADDING_PENALTY
        logits = logits * channels**-0.5 + penalty[:, None, None, :]
        weights = jax.nn.softmax(logits, axis=-1).astype(self.dtype)
        return jnp.einsum("bhpn,bnhd->bphd", weights, value.reshape(words)).reshape(query.shape)


class LanguageGate(nn.Module):
    """Decides per channel how much language returns to the encoder's trunk.

    Both weights start at zero, as in LGCE. Known property of that start: the derivative of the
    ReLU at zero is zero, so the gate receives no gradient and stays shut when training starts
    from zero; only weights imported with an open gate move it.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, fused: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to gate values in (-1, 1) of the same shape."""
        dense = functools.partial(
            nn.Dense,
            fused.shape[-1],
            use_bias=False,
            kernel_init=nn.initializers.zeros,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        return jnp.tanh(dense(name="fc2")(nn.relu(dense(name="fc1")(fused))))
