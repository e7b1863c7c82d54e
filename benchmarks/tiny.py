"""The smallest configuration of a model, to try what measures a large one."""

import ml_collections

from rrsis_jax.configs import default
from rrsis_jax.models import registry

SIDE = 32  # of images, in pixels


def get_config(name: str = "lgce") -> ml_collections.ConfigDict:
    """Returns the configuration.

    Args:
      name: of the model.
    """
    config, small = default.get_config(name).unlock(), registry.small(name)
    config.model, config.loss, config.optim.groups = small.model, small.loss, small.groups
    config.data.image_size = SIDE
    return config
