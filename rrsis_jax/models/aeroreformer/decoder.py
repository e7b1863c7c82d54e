"""AeroReformer's decoder: transposed convolutions, linear attention, rotated convolutions."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.lavt.decoder import NUM_CLASSES
from rrsis_jax.models.layers.initializers import uniform_inits
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.models.layers.rotated_convolution import RotatedConv
from rrsis_jax.types import Dtype, LayerTypes

EPSILON = 1e-6
QUERY_SQUEEZE = 8  # channels of the spatial attention's queries are fewer by this factor


def _unit(x: jax.Array) -> jax.Array:
    """Divides by the Euclidean norm over the channels."""
    return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + EPSILON)


def spatial_linear_attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Attention between positions by the first-order expansion of the softmax.

    Args:
      query: (B, M, K).
      key: (B, M, K).
      value: (B, M, C).

    Returns:
      (B, M, C), float32 or wider.
    """
    query, key = _unit(at_least_float32(query)), _unit(at_least_float32(key))
    value = at_least_float32(value)
    positions = value.shape[1]
    total = jnp.sum(value, axis=1, keepdims=True)
    mixed = query @ jnp.einsum("bmk,bmc->bkc", key, value)
    divisor = positions + query @ jnp.sum(key, axis=1)[..., None] + EPSILON
    return (total + mixed) / divisor


def channel_linear_attention(x: jax.Array, plain: bool = False) -> jax.Array:
    """Attention between channels by the first-order expansion of the softmax.

    Quirk of the published code: the similarity is taken of the values with the normalised values,
    the mean over the normalised ones, and the divisor counts positions although the sum runs over
    channels.

    Args:
      x: (B, M, C), which is query, key and value at once.
      plain: whether similarity is between normalised values, the mean over the values themselves,
        and the divisor counts channels; not in the paper's code.

    Returns:
      (B, M, C), float32 or wider.
    """
    x = at_least_float32(x)
    unit = _unit(x)
    _, positions, channels = x.shape
    left, right = (unit, x) if plain else (x, unit)
    similarity = jnp.einsum("bmc,bmd->bcd", left, unit)
    mixed = jnp.einsum("bcd,bmd->bmc", similarity, right)
    shared = jnp.sum(unit, axis=-1)
    divisor = (channels if plain else positions) + jnp.einsum("bmc,bm->bc", unit, shared) + EPSILON
    return (jnp.sum(x, axis=-1, keepdims=True) + mixed) / divisor[:, None]


class LinearAttention(nn.Module):
    """Adds an attention's result, weighted by one number that starts at zero.

    Attributes:
      spatial: whether positions attend to each other; else channels do.
      plain: see `channel_linear_attention`.
      dtype: compute type; the attention is float32 or wider.
      param_dtype: type of the parameters.
    """

    spatial: bool
    plain: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to the same shape."""
        channels = x.shape[-1]
        positions = x.reshape(x.shape[0], -1, channels)

        def dense(name: str, features: int) -> jax.Array:
            types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            return nn.Dense(features, name=name, **uniform_inits(channels), **types)(positions)

        if self.spatial:
            narrow = channels // QUERY_SQUEEZE
            attended = spatial_linear_attention(
                dense("query", narrow), dense("key", narrow), dense("value", channels)
            )
        else:
            attended = channel_linear_attention(positions, self.plain)
        gamma = self.param("gamma", nn.initializers.zeros, (1,), self.param_dtype)
        return x + (gamma[0] * attended).astype(self.dtype).reshape(x.shape)


class PointBnRelu(nn.Module):
    """1×1 convolution, batch normalisation, ReLU.

    Attributes:
      features: output channels.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H, W, features)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Dense(self.features, name="point", **uniform_inits(x.shape[-1]), **types)(x)
        return nn.relu(BatchNorm(axis_name=self.axis_name, name="bn", **types)(x, train))


class DoubledMap(nn.Module):
    """Transposed 2×2 convolution of stride 2: every position becomes four.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to (B, 2H, 2W, C)."""
        batch, height, width, channels = x.shape
        inits = uniform_inits(4 * channels)
        shape = (2, 2, channels, channels)
        kernel = self.param("kernel", inits["kernel_init"], shape, self.param_dtype)
        bias = self.param("bias", inits["bias_init"], (channels,), self.param_dtype)
        x = jnp.einsum("bhwc,rscf->bhrwsf", x.astype(self.dtype), kernel.astype(self.dtype))
        x = x.reshape(batch, 2 * height, 2 * width, channels)
        return x + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class AeroReformerDecoder(nn.Module):
    """Joins the maps from coarse to fine and classifies every position (RAMSF).

    Sides must double from map to map, so those of the image are multiples of 32.

    Attributes:
      plain_channels: see `channel_linear_attention`.
      routing_dropout: dropout before a kernel's strength and angle.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; attentions and classifier compute in float32 or wider.
      param_dtype: type of the parameters.
    """

    plain_channels: bool = False
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
        lateral = [
            PointBnRelu(x.shape[-1], self.axis_name, name=f"lateral_{level}", **types)(x, train)
            for level, x in enumerate(maps, start=1)
        ]
        *finer, x = lateral
        for level, finer_map in reversed(list(enumerate(finer, start=1))):
            width = finer_map.shape[-1]
            doubled = DoubledMap(name=f"up_{level + 1}", **types)(x)
            x = jnp.concatenate([finer_map, doubled], axis=-1)
            x = LinearAttention(
                level == 1, self.plain_channels, name=f"attention_{level}", **types
            )(x)
            x = PointBnRelu(width, self.axis_name, name=f"reduce_{level}", **types)(x, train)
            x = RotatedConv(width, self.routing_dropout, name=f"turn_{level}", **types)(x, train)
            bn = BatchNorm(axis_name=self.axis_name, name=f"turn_{level}_bn", **types)
            x = nn.relu(bn(x, train))
            self.sow("intermediates", f"smooth_{level}", x)
        return nn.Dense(
            NUM_CLASSES,
            dtype=wide_type(self.dtype),
            param_dtype=self.param_dtype,
            name="classifier",
            **uniform_inits(x.shape[-1]),
        )(x)
