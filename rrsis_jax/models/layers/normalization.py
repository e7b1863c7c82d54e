"""Layer, batch and instance norms."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.types import Dtype

LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5)


class BatchNorm(nn.Module):
    """Batch normalisation with the running statistics that PyTorch keeps.

    Normalises by the biased variance and accumulates the unbiased one, n / (n - 1) times larger,
    where n counts the values of a channel over all devices. Flax's own layer accumulates the
    biased variance, which is 10 % off on a 3×4 map.

    Attributes:
      momentum: share of the old running value that a training step keeps.
      epsilon: added to the variance.
      axis_name: mapped axis over which statistics are synchronised in training; None for none.
      dtype: type of the result; statistics are float32, or as wide as the parameters.
      param_dtype: type of the parameters.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises (B, H, W, C) per channel; updates "batch_stats" when `train`."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), self.param_dtype)
        wide = wide_type(self.param_dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), wide)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), wide)
        x = at_least_float32(x)
        mean, var = running_mean.value, running_var.value
        if train:
            mean, var, unbiased = self._batch_statistics(x)
            if not self.is_initializing():
                running_mean.value = self._accumulate(running_mean.value, mean)
                running_var.value = self._accumulate(running_var.value, unbiased)
        factor = jax.lax.rsqrt(var + self.epsilon) * scale
        offset = bias - mean * factor
        per_channel = (1,) * (x.ndim - 1) + (channels,)
        return (x * factor.reshape(per_channel) + offset.reshape(per_channel)).astype(self.dtype)

    def _accumulate(self, old: jax.Array, new: jax.Array) -> jax.Array:
        return self.momentum * old + (1.0 - self.momentum) * new

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns mean, biased and unbiased variance (C,) over the synchronised batch."""
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1]
        mean, var = jnp.mean(x, axes), jnp.var(x, axes)
        if self.axis_name is not None and not self.is_initializing():
            local_mean = mean
            mean, square = jax.lax.pmean((mean, var + jnp.square(local_mean)), self.axis_name)
            var = jnp.maximum(square - jnp.square(mean), 0.0)
            count *= jax.lax.axis_size(self.axis_name)
        return mean, var, var * (count / max(count - 1, 1))


def instance_norm(x: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Normalises every channel of every sample over its positions, without parameters.

    Args:
      x: (B, positions, C).
      epsilon: added to the biased variance.

    Returns:
      Array of the shape and type of `x`; computed in float32 or wider.
    """
    full = at_least_float32(x)
    centred = full - jnp.mean(full, axis=1, keepdims=True)
    var = jnp.mean(jnp.square(centred), axis=1, keepdims=True)
    return (centred * jax.lax.rsqrt(var + epsilon)).astype(x.dtype)
