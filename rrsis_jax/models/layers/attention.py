"""Attention over tokens."""

import jax
import jax.numpy as jnp

from rrsis_jax.models.layers.precision import wide_type


def multi_head_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, num_heads: int
) -> jax.Array:
    """Scaled dot-product attention.

    Args:
      query: (B, Q, C).
      key: (B, K, C).
      value: (B, K, C).
      num_heads: heads that C is split into.

    Returns:
      Array (B, Q, C) of the type of `value`; logits and softmax are float32 or wider.
    """

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads)

    query, key, value = split(query), split(key), split(value)
    scaled = query * query.shape[-1] ** -0.5
    wide = wide_type(query.dtype)
    logits = jnp.einsum("bqhd,bkhd->bhqk", scaled, key, preferred_element_type=wide)
    weights = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    attended = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
    return attended.reshape(*attended.shape[:-2], -1)
