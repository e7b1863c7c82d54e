"""DiCoR's joint stage with the network of `dicor_coarse_small`."""

import ml_collections

from rrsis_jax.configs import dicor_coarse_small, dicor_joint_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dicor_coarse_small.get_config()
    dicor_joint_refsegrs.begin(config)
    config.optim.learning_rate = 1e-4
    config.optim.groups.text_norm_rate = 1.0
    config.train.epochs = 15.0
    config.checkpoint.keep_latest = 2
    return config
