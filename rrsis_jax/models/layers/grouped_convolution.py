"""Convolutions that mix few channels: depthwise ones and those of small groups."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.initializers import Inits, uniform_inits
from rrsis_jax.types import Dtype


class GroupedConv(nn.Module):
    """Convolution in groups of `channels // groups` channels, zero-padded by half the kernel.

    It is a sum of products of shifted maps, one for each tap and each channel of a group: a
    compiler makes one loop of it, and XLA's own grouped convolution is slow on CPUs.

    Attributes:
      features: output channels, a multiple of `groups`.
      groups: groups that input and output channels are divided into.
      size: side of the kernel, odd.
      stride: step in both directions.
      use_bias: whether there is one.
      inits: from the fan-in to the initialisers.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    groups: int
    size: int = 3
    stride: int = 1
    use_bias: bool = True
    inits: Inits = uniform_inits
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to (B, ceil(H / stride), ceil(W / stride), features)."""
        _, height, width, channels = x.shape
        size, stride, members = self.size, self.stride, channels // self.groups
        inits = self.inits(size * size * members)
        shape = (size, size, members, self.features)
        kernel = self.param("kernel", inits["kernel_init"], shape, self.param_dtype)
        kernel, x = kernel.astype(self.dtype), x.astype(self.dtype)

        border = (size // 2, size // 2)
        padded = jnp.pad(x, ((0, 0), border, border, (0, 0)))
        output = jnp.zeros((), self.dtype)
        for member in range(members):
            # The m-th channel of its group, beside every output channel of the group.
            source = jnp.repeat(padded[..., member::members], self.features // self.groups, axis=3)
            for row in range(size):
                for column in range(size):
                    tap = source[:, row : row + height : stride, column : column + width : stride]
                    output += tap * kernel[row, column, member].reshape(1, 1, 1, -1)
        if self.use_bias:
            bias = self.param("bias", inits["bias_init"], (self.features,), self.param_dtype)
            output += bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return output
