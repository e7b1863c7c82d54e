"""RMSIN as its authors train it, on RRSIS-D at 480×480.

  python main.py --config=configs/rmsin_rrsisd.py --workdir=runs/rmsin_rrsisd \
    --config.data.folder=/data/RRSIS-D \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

All records are used, and the checkpoint is chosen on validation, as by the authors. Nobody has run
this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("rmsin")
    config.data.dataset = "rrsisd/official_complete"
    config.data.augment.black_boxes = 0.2
    config.optim.learning_rate = 3e-5
    return config
