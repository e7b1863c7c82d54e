"""Convolutions with fast gradients."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.types import Dtype, LayerTypes


def _convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def convolve_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves maps (B, H, W, C) with an odd kernel (k, k, C, F) to (B, H, W, F), zero-padded.

    The kernel's gradient is a convolution whose own kernel is as large as the map. XLA's CPU
    backend takes two and a half times as long for it as for the k² matrix products that it
    amounts to, so on a CPU these are computed. Of small maps it is as fast by itself, but ten times
    as slow inside a loop, as over micro-batches.
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
    channels, features = x.shape[-1], gradient.shape[-1]
    # (F, C) = (F, BHW) × (BHW, C) is the order that the CPU's products are fastest in. The barrier
    # has the gradient transposed once, not anew for every tap.
    gradient = jax.lax.optimization_barrier(gradient.reshape(-1, features).T)

    def tap(offset: jax.Array) -> jax.Array:
        shifted = jax.lax.dynamic_slice(padded, (0, offset // side, offset % side, 0), x.shape)
        return gradient @ shifted.reshape(-1, channels)

    # One after the other, so that only one shifted copy is alive.
    taps = jax.lax.map(tap, jnp.arange(side * side))
    return taps.reshape(side, side, features, channels).swapaxes(2, 3)


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
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
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
