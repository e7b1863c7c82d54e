"""FIANet as its authors train it, on RRSIS-D at 480×480.

  python main.py --config=configs/fianet_rrsisd.py --workdir=runs/fianet_rrsisd \
    --config.data.folder=/data/RRSIS-D \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

Three mixing blocks, 22 tokens, RMSIN's black squares. The checkpoint is chosen on validation, where
the authors choose it on the test split. Nobody has run this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import default
from rrsis_jax.models.fianet.config import RRSISD_CLASSES


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("fianet")
    config.data.dataset = "rrsisd/official_complete"
    config.data.augment.black_boxes = 0.2
    config.model.text.max_tokens = 22
    config.model.mixer.depth = 3
    config.model.word_masks.classes = RRSISD_CLASSES
    config.optim.learning_rate = 3e-5
    return config
