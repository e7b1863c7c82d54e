"""The paper's recipe of LGCE on RRSIS-D at 480×480: Swin-B window 12 and bert-base-uncased.

  python main.py --config=configs/lgce_rrsisd.py --workdir=runs/lgce_rrsisd \
    --config.data.folder=/data/RRSIS-D \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

20 tokens of a phrase are read, as RMSIN reads them. The images have many pixel sizes. Nobody has
run this configuration yet: learning rate and schedule are those for RefSegRS.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("lgce")
    config.data.dataset = "rrsisd/official"
    config.model.text.max_tokens = 20
    return config
