"""AeroReformer with its authors' network, loss, groups and schedule, on RefSegRS at 480×480.

The paper trains on UAVid-RIS and VDD-RIS and gives no numbers for RefSegRS.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("aeroreformer")
    config.data.ground_sampling_distance = 0.13 * 512 / 480  # of the stored images, resized
    config.optim.learning_rate = 3e-5
    return config
