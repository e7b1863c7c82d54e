"""DiCoR's coarse stage with a small network at 128×128, from scratch, on a folder of one's own.

  python main.py --config=configs/dicor_coarse_small.py --workdir=runs/coarse \
    --config.data.folder=FOLDER

No download and no pretrained weights; depths, learning rate and schedule are those of `lgce_small`.
"""

import ml_collections

from rrsis_jax.configs import default, lgce_small


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("dicor")
    lgce_small.shrink(config)
    config.model.vision.embed_dim = 32  # eight heads divide an eighth of all scales' channels
    config.model.mixer.depth = 1
    config.model.guide.end_ids = (2, 3)  # of a tokenizer trained on the phrases
    config.model.refiner.width = 8
    config.checkpoint.keep_latest = 12
    return config
