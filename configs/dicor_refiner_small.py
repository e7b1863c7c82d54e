"""DiCoR's refiner stage with the network of `dicor_coarse_small`."""

import ml_collections

from rrsis_jax.configs import dicor_coarse_small, dicor_refiner_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dicor_coarse_small.get_config()
    dicor_refiner_refsegrs.begin(config)
    config.checkpoint.keep_latest = 2
    return config
