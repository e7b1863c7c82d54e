"""Pieces that the foundation encoders share: attention, windows, feed-forward, runs of layers.

Norms, attention logits and softmax are computed in float32 or wider, whatever the compute type.
"""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from rrsis_jax.models.layers.adapters import Dense, Lora
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.long_attention import attend_heads
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.models.layers.resize import pad_to_multiple
from rrsis_jax.types import Dtype

LayerNorm = functools.partial(nn.LayerNorm, use_fast_variance=False)


def product(equation: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns `jnp.einsum` of two arrays, accumulated and handed back in float32 or wider."""
    wide = wide_type(jnp.promote_types(x.dtype, y.dtype))
    return jnp.einsum(equation, x, y, preferred_element_type=wide)


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    num_heads: int,
    mask: jax.Array | None = None,
    train: bool = False,
) -> jax.Array:
    """Scaled dot-product attention.

    Args:
      query: (B, Q, C).
      key: (B, K, C).
      value: (B, K, C).
      num_heads: heads that C is split into.
      mask: (B, K), nonzero on keys that are looked at; None for all.
      train: see `attend_heads`.

    Returns:
      Array (B, Q, C) of the type of `value`; logits and softmax are float32 or wider.
    """
    query, key, value = (split_heads(x, num_heads) for x in (query, key, value))
    query = query * query.shape[-1] ** -0.5

    def only_of_mask(logits: jax.Array) -> jax.Array:
        if mask is None:
            return logits
        return jnp.where(jnp.expand_dims(mask, range(1, logits.ndim - 1)) != 0, logits, -jnp.inf)

    attended = attend_heads(query, key, value, add=only_of_mask, train=train)
    return attended.reshape(*attended.shape[:-2], -1)


def split_heads(x: jax.Array, num_heads: int) -> jax.Array:
    """Reshapes (..., C) to (..., num_heads, C / num_heads)."""
    return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads)


class Attention(nn.Module):
    """Multi-head attention with a projection each for query, key, value and result.

    Attributes:
      num_heads: attention heads.
      inner: width of query, key and value; None for the query's own.
      lora: see `Lora`.
      kernel_init: of all projections.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    inner: int | None = None
    lora: Lora | None = None
    kernel_init: nn.initializers.Initializer = transformer_init
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Maps (B, Q, C) with keys and values (B, K, D), of which `mask` (B, K), to (B, Q, C)."""
        dense = functools.partial(
            Dense,
            lora=self.lora,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        inner = self.inner or query.shape[-1]
        attended = attend(
            dense(inner, name="q_proj")(query, train),
            dense(inner, name="k_proj")(key, train),
            dense(inner, name="v_proj")(value, train),
            self.num_heads,
            mask,
            train,
        )
        return dense(query.shape[-1], name="out_proj")(attended, train)


class PackedAttention(nn.Module):
    """Multi-head attention whose query, key and value projections are one parameter.

    Attributes:
      num_heads: attention heads.
      lora: see `Lora`; only the projection of the result is a layer that can have an adapter.
      packed_init: of the projections of query, key and value.
      kernel_init: of the projection of the result.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    lora: Lora | None = None
    packed_init: nn.initializers.Initializer = transformer_init
    kernel_init: nn.initializers.Initializer = transformer_init
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Maps (B, Q, C) with keys and values (B, K, C), of which `mask` (B, K), to (B, Q, C)."""
        width = query.shape[-1]
        kernel = self.param("in_kernel", self.packed_init, (width, 3 * width), self.param_dtype)
        bias = self.param("in_bias", nn.initializers.zeros, (3 * width,), self.param_dtype)
        kernels, biases = jnp.split(kernel, 3, axis=1), jnp.split(bias, 3)

        def project(x: jax.Array, part: int) -> jax.Array:
            x, kernel, bias = promote_dtype(x, kernels[part], biases[part], dtype=self.dtype)
            return x @ kernel + bias[None, None]

        parts = project(query, 0), project(key, 1), project(value, 2)
        attended = attend(*parts, self.num_heads, mask, train)
        return Dense(
            width,
            lora=self.lora,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="out_proj",
        )(attended, train)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them.

    Attributes:
      hidden: width of the inner layer.
      activation: between the layers.
      lora: see `Lora`.
      kernel_init: of both layers.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    activation: Callable[[jax.Array], jax.Array] = exact_gelu
    lora: Lora | None = None
    kernel_init: nn.initializers.Initializer = transformer_init
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Maps (..., C) to (..., C) through `hidden` features."""
        dense = functools.partial(
            Dense,
            lora=self.lora,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        inner = self.activation(dense(self.hidden, name="fc1")(x, train))
        return dense(x.shape[-1], name="fc2")(inner, train)


def to_windows(x: jax.Array, window: int) -> jax.Array:
    """Cuts maps into windows, zero-padded at the bottom and right until they divide.

    Args:
      x: (B, H, W, C).
      window: side of a window.

    Returns:
      Array (B · windows, window, window, C).
    """
    x = pad_to_multiple(x, window)
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, window, window, channels)


def from_windows(windows: jax.Array, height: int, width: int) -> jax.Array:
    """Undoes `to_windows`: (B · windows, w, w, C) to (B, height, width, C)."""
    side, channels = windows.shape[-2:]
    rows, columns = -(-height // side), -(-width // side)
    x = windows.reshape(-1, rows, columns, side, side, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows * side, columns * side, channels)
    return x[:, :height, :width]


def run_layers(
    parent: nn.Module,
    layer: type[nn.Module],
    fields: Sequence[Mapping[str, Any]],
    x: Any,
    *constants: Any,
    remat: bool = False,
    scan: bool = False,
) -> Any:
    """Runs layers one after the other, within a compact method of `parent`.

    Args:
      parent: the module that the layers are part of.
      layer: their class; called with `x` and the constants, returns the next `x`.
      fields: of each layer, its name included.
      x: an array or a tree of them.
      *constants: what every layer is handed; the last one is `train`.
      remat: whether layers are recomputed in the backward pass.
      scan: whether neighbours of equal fields are compiled once and run in a loop. Parameters keep
        their places in the tree, one entry a layer; they are stacked for the loop.

    Returns:
      What the last layer returned.
    """
    train_position = 1 + len(constants)  # behind the layer itself and x
    made = nn.remat(layer, static_argnums=(train_position,)) if remat else layer
    for equal, group in itertools.groupby(fields, lambda one: {**one, "name": None}):
        names = [one["name"] for one in group]
        if scan and len(names) > 1 and not parent.is_initializing():
            x = _scan(parent, layer, {**equal, "parent": None}, names, x, constants, remat)
            continue
        for name in names:
            x = made(**{**equal, "name": name})(x, *constants)
    return x


def _scan(
    parent: nn.Module,
    layer: type[nn.Module],
    fields: Mapping[str, Any],
    names: Sequence[str],
    x: Any,
    constants: tuple,
    remat: bool,
) -> Any:
    params = [parent.variables["params"][name] for name in names]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    keys = None
    if constants[-1] and parent.has_rng("dropout"):
        keys = jax.random.split(parent.make_rng("dropout"), len(names))

    def step(x: Any, one: tuple) -> tuple[Any, None]:
        def run(x: Any, params: Any, key: jax.Array | None) -> Any:
            rngs = None if key is None else {"dropout": key}
            return layer(**fields).apply({"params": params}, x, *constants, rngs=rngs)

        return (jax.checkpoint(run) if remat else run)(x, *one), None

    return jax.lax.scan(step, x, (stacked, keys))[0]
