"""DiCoR's joint stage on RefSegRS: mixing and decoder learn on, with words, guide and refiner.

Name the runs of refiner and guide in `init_from`. The mixing starts from the coarse stage's blocks,
and all but the norm of the words learns at the paper's 1e-5. The authors' code starts these blocks
at random and trains them at 1e-6:

  --config.model.mixer.carried=False --config.optim.learning_rate=1e-6 \
    --config.optim.groups.text_norm_rate=100
"""

import ml_collections

from rrsis_jax.configs import dicor_coarse_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dicor_coarse_refsegrs.get_config()
    begin(config)
    config.train.epochs = 10.0
    config.train.eval_every_epochs = 1.0
    config.checkpoint.keep_latest = 2
    return config


def begin(config: ml_collections.ConfigDict) -> None:
    """Makes a coarse stage's configuration the joint stage's."""
    config.model.stage = "joint"
    config.optim.learning_rate = 1e-5
    config.optim.groups.text_norm_rate = 10.0
