"""DiCoR's coarse stage as its authors train it, on RefSegRS at 480×480.

Every fifth epoch is validated and kept, because prompts are made of several checkpoints. The rate
is that of the authors' code; their paper has 5e-5.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("dicor")
    config.data.ground_sampling_distance = 0.13 * 512 / 480  # of the stored images, resized
    config.optim.learning_rate = 3e-5
    config.train.eval_every_epochs = 5.0
    config.checkpoint.keep_latest = 8
    return config
