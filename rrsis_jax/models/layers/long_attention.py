"""Attention over many tokens, one head and some hundred queries at a time.

The logits of 4,096 queries and keys are 67 MB a head. XLA's CPU backend writes and reads them for
each operation of the softmax; of a block of queries they stay in the processor's cache. An
accelerator computes all at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rrsis_jax.models.layers.precision import wide_type

BLOCK = 512  # queries
LONG = 1024  # queries and keys, from which it pays

Arrays = tuple[jax.Array, ...]


def attend_heads(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    biases: Arrays = (),
    add: Callable[..., jax.Array] = lambda logits: logits,
    train: bool = False,
) -> jax.Array:
    """Softmax of the products of queries and keys, and the mean of the values that it weighs.

    Args:
      query: (B, Q, H, d), scaled.
      key: (B, K, H, d).
      value: (B, K, H, e).
      biases: what `add` makes the logits' summand of, (B, H, Q, ...) each.
      add: takes logits (..., Q, K) and each of the biases (..., Q, ...), returns logits.
      train: whether a backward pass follows; then all are computed at once on a CPU too.

    Returns:
      Array (B, Q, H, e) of the type of `value`; logits and softmax are float32 or wider.
    """

    def at_once(query: jax.Array, key: jax.Array, value: jax.Array, *biases: jax.Array):
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=wide)
        weights = jax.nn.softmax(add(logits, *biases), axis=-1).astype(value.dtype)
        return jnp.einsum("bhqk,bkhe->bqhe", weights, value)

    def head(parts: tuple[Arrays, Arrays]) -> jax.Array:
        (query, key, value), biases = parts

        def block(part: tuple[jax.Array, Arrays]) -> jax.Array:
            logits = jnp.einsum("bqd,bkd->bqk", part[0], key, preferred_element_type=wide)
            weights = jax.nn.softmax(add(logits, *part[1]), axis=-1).astype(value.dtype)
            return jnp.einsum("bqk,bke->bqe", weights, value)

        return _join(jax.lax.map(block, jax.tree.map(_cut, (query, biases))))

    def in_turns(query: jax.Array, key: jax.Array, value: jax.Array, *biases: jax.Array):
        heads = tuple(jnp.moveaxis(x, 2, 0) for x in (query, key, value))
        attended = jax.lax.map(head, (heads, tuple(jnp.moveaxis(x, 1, 0) for x in biases)))
        return jnp.moveaxis(attended, 0, 2)

    wide, queries = wide_type(query.dtype), query.shape[1]
    if train or min(queries, key.shape[1]) < LONG or queries % BLOCK:
        return at_once(query, key, value, *biases)
    return jax.lax.platform_dependent(query, key, value, *biases, cpu=in_turns, default=at_once)


def _cut(x: jax.Array) -> jax.Array:
    """Cuts (B, Q, ...) to (blocks, B, queries, ...)."""
    return jnp.moveaxis(x.reshape(len(x), -1, BLOCK, *x.shape[2:]), 1, 0)


def _join(x: jax.Array) -> jax.Array:
    """Undoes `_cut`."""
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(len(x), -1, *x.shape[3:])
