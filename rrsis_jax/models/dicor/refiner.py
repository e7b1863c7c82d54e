"""The refiner: a U-Net that corrects a mask by the image, at full resolution."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.lavt.decoder import NUM_CLASSES
from rrsis_jax.models.layers.convolution import ConvBnRelu
from rrsis_jax.models.layers.initializers import uniform_inits
from rrsis_jax.models.layers.multi_scale import resize_half_pixel
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.types import Dtype, LayerTypes

LEVELS = 4


class DoubledMap(nn.Module):
    """Transposed 2×2 convolution of stride 2: every position becomes four.

    Attributes:
      features: output channels.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to (B, 2H, 2W, features)."""
        batch, height, width, channels = x.shape
        # PyTorch takes a transposed convolution's outputs for its inputs when it draws the start.
        start = uniform_inits(4 * self.features)["bias_init"]
        shape = (2, 2, channels, self.features)
        kernel = self.param("kernel", start, shape, self.param_dtype).astype(self.dtype)
        bias = self.param("bias", start, (self.features,), self.param_dtype).astype(self.dtype)
        x = jnp.einsum("bhwc,rscf->bhrwsf", x.astype(self.dtype), kernel)
        return x.reshape(batch, 2 * height, 2 * width, self.features) + bias.reshape(1, 1, 1, -1)


class Refiner(nn.Module):
    """Says what to add to coarse logits; nothing at the start.

    Attributes:
      width: channels of the finest level, doubled at each coarser one.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the last layer computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    width: int = 64
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, prompt: jax.Array, train: bool) -> jax.Array:
        """Corrects a mask.

        Args:
          image: normalised (B, H, W, 3).
          prompt: (B, H, W), the probability of the target.
          train: whether batch statistics are the batch's.

        Returns:
          What to add to both logits, (B, H, W, 2), float32 or wider.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def units(name: str, level: int, x: jax.Array) -> jax.Array:
            for unit in (0, 1):
                features = self.width * 2**level
                block = ConvBnRelu(features, self.axis_name, name=f"{name}_{unit}", **types)
                x = block(x, train)
            self.sow("intermediates", name, x)
            return x

        x = jnp.concatenate([image, prompt[..., None].astype(image.dtype)], axis=-1)
        skips = []
        for level in range(LEVELS):
            skips.append(units(f"enc{level + 1}", level, x))
            x = nn.max_pool(skips[-1], (2, 2), (2, 2))
        x = units("bottleneck", LEVELS, x)
        for level in reversed(range(LEVELS)):
            name, skip = f"up{level + 1}", skips[level]
            x = DoubledMap(self.width * 2**level, name=name, **types)(x)
            x = jnp.concatenate([resize_half_pixel(x, *skip.shape[1:3]), skip], axis=-1)
            x = units(f"dec{level + 1}", level, x)
        return nn.Conv(
            NUM_CLASSES,
            (1, 1),
            kernel_init=nn.initializers.zeros,
            dtype=wide_type(self.dtype),
            param_dtype=self.param_dtype,
            name="classifier",
        )(x)
