"""The paper's recipe of LGCE: Swin-B window 12 and bert-base-uncased on RefSegRS at 480×480."""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("lgce")
    config.data.ground_sampling_distance = 0.13 * 512 / 480  # of the stored images, resized
    return config
