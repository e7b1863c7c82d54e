"""FIANet's recipe with a small network at 128×128, from scratch, on a folder of one's own.

  python main.py --config=configs/fianet_small.py --workdir=runs/fianet --config.data.folder=FOLDER

No download and no pretrained weights; sizes, learning rate and schedule are those of `lgce_small`.
Objects are named as in RefSegRS: --config.model.word_masks.classes="('ship', 'storage tank')" for
other ones.
"""

import ml_collections

from rrsis_jax.configs import default, lgce_small


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("fianet")
    lgce_small.shrink(config)
    return config
