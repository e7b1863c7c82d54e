"""DiCoR's refiner as its authors train it, on the prompts of a coarse run.

Name the coarse run in `init_from` and the prompts in `data.arrays.prompt`. The rate is that of the
authors' code; their paper has 5e-5.
"""

import ml_collections

from rrsis_jax.configs import dicor_coarse_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dicor_coarse_refsegrs.get_config()
    begin(config)
    config.train.batch_size = 16
    config.checkpoint.keep_latest = 2
    return config


def begin(config: ml_collections.ConfigDict) -> None:
    """Makes a coarse stage's configuration the refiner's."""
    config.model.stage = "refiner"
    config.optim.learning_rate = 1e-4
    config.optim.weight_decay = 1e-4
