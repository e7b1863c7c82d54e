"""From the pixels of an image to what a network takes."""

import jax
import jax.numpy as jnp

from rrsis_jax import constants

# Channel statistics of ImageNet, for images scaled to [0, 1] (RGB).


def normalize(image: jax.Array) -> jax.Array:
    """Returns float32 images with ImageNet's mean and deviation removed.

    Args:
      image: (B, H, W, 3), uint8 RGB; a float image is taken as normalised already.
    """
    if image.dtype != jnp.uint8:
        return image
    mean, std = (
        jnp.asarray(x).reshape(1, 1, 1, 3)
        for x in (constants.IMAGENET_MEAN, constants.IMAGENET_STD)
    )
    return (image.astype(jnp.float32) / 255.0 - mean) / std
