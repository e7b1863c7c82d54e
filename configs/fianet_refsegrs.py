"""FIANet as its authors train it, on RefSegRS at 480×480.

Loss, groups, schedule and network are the paper's. The checkpoint is chosen on validation, where
the authors choose it on the test split.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("fianet")
    config.data.ground_sampling_distance = 0.13 * 512 / 480  # of the stored images, resized
    config.optim.learning_rate = 5e-5
    config.train.epochs = 60.0
    return config
