"""From the pixels of an image to what a network takes."""

import jax
import jax.numpy as jnp

from rrsis_jax import constants
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.types import Dtype

# Channel statistics of ImageNet, for images scaled to [0, 1] (RGB).


def normalize(image: jax.Array, dtype: Dtype = jnp.float32) -> jax.Array:
    """Returns images with ImageNet's mean and deviation removed, in float32 or wider.

    Args:
      image: (B, H, W, 3), uint8 RGB; a float image is taken as normalised already.
      dtype: compute type of the model.
    """
    if image.dtype != jnp.uint8:
        return image
    wide = wide_type(dtype)
    mean, std = (
        jnp.asarray(x, wide).reshape(1, 1, 1, 3)
        for x in (constants.IMAGENET_MEAN, constants.IMAGENET_STD)
    )
    return (image.astype(wide) / 255.0 - mean) / std
