"""AeroReformer as its authors train it, on UAVid-RIS at 480×480.

  python main.py --config=configs/aeroreformer_uavid_ris.py --workdir=runs/aero_uavid \
    --config.data.folder=/data/UAVid-RIS \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

A sentence is a sample here; the authors draw one of a reference's at random. The checkpoint is
chosen on validation. Nobody has run this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("aeroreformer")
    config.data.dataset = "uavid_ris/official"
    config.optim.learning_rate = 3e-5
    return config
