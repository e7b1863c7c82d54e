"""DiCoR's guide as its authors train it, on the prompts of a coarse run.

Name the coarse run in `init_from` and the prompts in `data.arrays.prompt`; masks of like objects
that are not meant, where there are any, in `data.arrays.distractors`. Evidence learns at 8e-4, the
ranking at 5e-4; the paper has 1e-3 and 20 epochs.
"""

import ml_collections

from rrsis_jax.configs import dicor_coarse_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dicor_coarse_refsegrs.get_config()
    begin(config)
    config.checkpoint.keep_latest = 2
    return config


def begin(config: ml_collections.ConfigDict) -> None:
    """Makes a coarse stage's configuration the guide's."""
    config.model.stage = "guide"
    config.optim.learning_rate = 8e-4
    config.optim.weight_decay = 1e-4
