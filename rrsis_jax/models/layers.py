"""Building blocks that encoder, fusion and decoders share."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

Dtype = jnp.dtype

# Linear layers and position tables of the transformers start here (Swin, section A2).
transformer_init = nn.initializers.truncated_normal(stddev=0.02)

LayerNorm = functools.partial(nn.LayerNorm, epsilon=1e-5)

# Kernels of the fusion and of the decoder start uniformly within ±1 / sqrt(fan-in), which is what
# the reference's layers do. Fusion is sensitive to it: the instance norm magnifies what the words
# do to a map until they explain all of its variance, and wider kernels get there sooner.
uniform_init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")


def uniform_bias_init(fan_in: int) -> nn.initializers.Initializer:
    """Returns the initialiser of biases beside kernels of `uniform_init`."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def exact_gelu(x: jax.Array) -> jax.Array:
    """Gaussian error linear unit by the error function, as the pretrained weights expect."""
    return nn.gelu(x, approximate=False)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Attributes:
      hidden: width of the inner layer.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (..., C) to (..., C) through `hidden` features."""
        dense = functools.partial(
            nn.Dense, dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=transformer_init
        )
        inner = exact_gelu(dense(self.hidden, name="fc1")(x))
        return dense(x.shape[-1], name="fc2")(inner)


class DropPath(nn.Module):
    """Drops a residual branch for whole samples (stochastic depth, Huang et al., ECCV 2016).

    Kept samples are divided by the keep rate, so that the expectation stays. Random bits come
    from the "dropout" collection.

    Attributes:
      rate: probability that a sample loses the branch; may be traced.
    """

    rate: float | jax.Array

    @nn.compact
    def __call__(self, branch: jax.Array, train: bool) -> jax.Array:
        """Returns `branch` (B, ...) with some samples zeroed when `train`."""
        if not train or (isinstance(self.rate, float) and self.rate == 0.0):
            return branch
        keep = 1.0 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, shape)
        return jnp.where(kept, (branch / keep).astype(branch.dtype), jnp.zeros_like(branch))


def sum_leading(x: jax.Array, ndim: int) -> jax.Array:
    """Sums over all but the last `ndim` axes.

    Where few large arrays are summed, XLA's CPU backend takes 30 to 50 times as long as for a
    product with ones. Many small ones, such as the rows of a bias gradient, it sums fast.
    """

    def by_product(x: jax.Array) -> jax.Array:
        shape = x.shape[x.ndim - ndim :]
        flat = x.reshape(-1, math.prod(shape))
        return (jnp.ones((1, len(flat)), x.dtype) @ flat).reshape(shape)

    def by_sum(x: jax.Array) -> jax.Array:
        return jnp.sum(x, tuple(range(x.ndim - ndim)))

    return jax.lax.platform_dependent(x, cpu=by_product, default=by_sum)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def spread(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Repeats `x` along new leading axes, to `shape`; the gradient is a `sum_leading`."""
    return jnp.broadcast_to(x.reshape((1,) * (len(shape) - x.ndim) + x.shape), shape)


def _spread_forward(x: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, int]:
    return spread(x, shape), x.ndim


def _spread_backward(shape: tuple[int, ...], ndim: int, gradient: jax.Array) -> tuple[jax.Array]:
    return (sum_leading(gradient, ndim),)


spread.defvjp(_spread_forward, _spread_backward)


class BatchNorm(nn.Module):
    """Batch normalisation with the running statistics that PyTorch keeps.

    Normalises by the biased variance and accumulates the unbiased one, n / (n - 1) times larger,
    where n counts the values of a channel over all devices. Flax's own layer accumulates the
    biased variance, which is 10 % off on a 3×4 map.

    Attributes:
      momentum: share of the old running value that a training step keeps.
      epsilon: added to the variance.
      axis_name: mapped axis over which statistics are synchronised in training; None for none.
      dtype: type of the result; statistics are always float32.
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
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        x = x.astype(jnp.float32)
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


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def convolve_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves maps (B, H, W, C) with an odd kernel (k, k, C, F) to (B, H, W, F), zero-padded.

    The kernel's gradient is a convolution whose own kernel is as large as the map. XLA's CPU
    backend takes two and a half times as long for it as for the k² matrix products that it
    amounts to, so on a CPU these are computed.
    """
    return _convolve(x, kernel)


def _convolve_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _convolve(x, kernel), (x, kernel)


def _convolve_backward(inputs: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = inputs
    _, pull_x = jax.vjp(lambda x: _convolve(x, kernel), x)
    return pull_x(gradient)[0], jax.lax.platform_dependent(
        x, kernel, gradient, cpu=kernel_gradient_by_products, default=_kernel_gradient
    )


convolve_same.defvjp(_convolve_forward, _convolve_backward)


def _kernel_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    _, pull_kernel = jax.vjp(lambda kernel: _convolve(x, kernel), kernel)
    return pull_kernel(gradient)[0]


def kernel_gradient_by_products(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
    """Returns the gradient of `convolve_same` for its kernel: one product for each kernel tap.

    Args:
      x: (B, H, W, C).
      kernel: (k, k, C, F); only its shape counts.
      gradient: (B, H, W, F), of the result.
    """
    side = len(kernel)
    border = (side // 2, side // 2)
    padded = jnp.pad(x, ((0, 0), border, border, (0, 0)))

    def tap(offset: jax.Array) -> jax.Array:
        shifted = jax.lax.dynamic_slice(padded, (0, offset // side, offset % side, 0), x.shape)
        # (F, C) = (F, BHW) × (BHW, C) is the order that the CPU's products are fastest in.
        return jnp.einsum("bhwf,bhwc->fc", gradient, shifted)

    # One after the other, so that only one shifted copy is alive.
    taps = jax.lax.map(tap, jnp.arange(side * side))
    return taps.reshape(side, side, *taps.shape[1:]).swapaxes(2, 3)


def _convolve_same(x: jax.Array, kernel: jax.Array, *_: object, **__: object) -> jax.Array:
    """Has the signature that `nn.Conv` calls a convolution by."""
    return convolve_same(x, kernel)


class ConvBnRelu(nn.Module):
    """3×3 convolution without bias, batch normalisation, ReLU.

    Attributes:
      features: output channels.
      axis_name: see `BatchNorm`.
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
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Conv(
            self.features,
            (3, 3),
            use_bias=False,
            kernel_init=uniform_init,
            conv_general_dilated=_convolve_same,
            name="conv",
            **types,
        )(x)
        return nn.relu(BatchNorm(axis_name=self.axis_name, name="bn", **types)(x, train))


def instance_norm(x: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Normalises every channel of every sample over its positions, without parameters.

    Args:
      x: (B, positions, C).
      epsilon: added to the biased variance.

    Returns:
      Array of the shape and type of `x`; computed in float32.
    """
    full = x.astype(jnp.float32)
    centred = full - jnp.mean(full, axis=1, keepdims=True)
    var = jnp.mean(jnp.square(centred), axis=1, keepdims=True)
    return (centred * jax.lax.rsqrt(var + epsilon)).astype(x.dtype)


@functools.lru_cache(maxsize=64)
def _interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns the float32 (new_size, size) matrix of 1-D linear interpolation, ends aligned."""
    step = (size - 1) / (new_size - 1) if new_size > 1 else 0.0
    position = np.arange(new_size) * step
    low = np.minimum(position.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    fraction = position - low
    matrix = np.zeros((new_size, size))
    rows = np.arange(new_size)
    np.add.at(matrix, (rows, low), 1.0 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    return matrix.astype(np.float32)


def resize_aligned(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes bilinearly with aligned corners: corner pixels keep their values.

    `jax.image.resize` knows half-pixel centres only. Interpolation is separable and its
    coefficients depend on the sizes alone, so two small dense products replace all gathers.

    Args:
      x: (B, H, W, C).
      height: rows of the result.
      width: columns of the result.

    Returns:
      Array (B, height, width, C) of the type of `x`.
    """
    _, rows, columns, _ = x.shape
    contract: Callable = functools.partial(
        jnp.einsum, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
    if height != rows:
        matrix = jnp.asarray(_interpolation_matrix(rows, height), x.dtype)
        x = contract("oh,bhwc->bowc", matrix, x).astype(x.dtype)
    if width != columns:
        matrix = jnp.asarray(_interpolation_matrix(columns, width), x.dtype)
        x = contract("ow,bhwc->bhoc", matrix, x).astype(x.dtype)
    return x


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Pads (B, H, W, C) with zeros at the bottom and right until `multiple` divides H and W."""
    bottom, right = -x.shape[1] % multiple, -x.shape[2] % multiple
    if bottom == 0 and right == 0:
        return x
    return jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)))
