"""RMSIN as its authors train it, on RefSegRS at 480×480.

Loss, groups, schedule, augmentation and network are the paper's. The checkpoint is chosen on
validation.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rmsin")
    config.data.ground_sampling_distance = 0.13 * 512 / 480  # of the stored images, resized
    config.data.augment.black_boxes = 0.2
    config.optim.learning_rate = 3e-5
    return config
