"""RS2-SAM2 as its authors train it, on RRSIS-D at 1024×1024.

  python main.py --config=configs/rs2sam2_rrsisd.py --workdir=runs/rs2sam2_rrsisd \
    --config.data.folder=/data/RRSIS-D \
    --config.model.beit3.pretrained=/weights/beit3_large_patch16_224.pth

The rate stays as it is: the authors' drop would come after their last epoch. Nobody has run this
configuration yet.
"""

import ml_collections

from rrsis_jax.configs import rs2sam2_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = rs2sam2_refsegrs.get_config()
    config.data.dataset = "rrsisd/official_complete"
    config.data.ground_sampling_distance = 0.0  # images of many satellites
    config.optim.schedule = "polynomial"
    config.optim.hold = config.optim.floor = 0.0
    config.optim.power = 0.0  # constant
    config.train.epochs = 40.0
    return config
