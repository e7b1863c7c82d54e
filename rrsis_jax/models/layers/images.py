"""From the pixels of an image to what a network takes."""

import jax
import jax.numpy as jnp

# Channel statistics of ImageNet, for images scaled to [0, 1] (RGB).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(image: jax.Array) -> jax.Array:
    """Returns float32 images with ImageNet's mean and deviation removed.

    Args:
      image: (B, H, W, 3), uint8 RGB; a float image is taken as normalised already.
    """
    if image.dtype != jnp.uint8:
        return image
    mean, std = (jnp.asarray(x).reshape(1, 1, 1, 3) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.astype(jnp.float32) / 255.0 - mean) / std
