"""RMSIN for images of 896×896, which RemoteSAM's checkpoint is said to be for.

  rrsis-weights import --from RemoteSAM.pth --config rmsin_remotesam --to weights/

Nobody has opened the checkpoint here yet. Names that RMSIN's code has no place for are listed.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rmsin")
    config.data.image_size = 896
    config.data.augment.black_boxes = 0.2
    config.optim.learning_rate = 3e-5
    return config
