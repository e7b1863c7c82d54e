"""The paper's recipe of LGCE on RISBench at 480×480: Swin-B window 12 and bert-base-uncased.

  python main.py --config=configs/lgce_risbench.py --workdir=runs/lgce_risbench \
    --config.data.folder=/data/RISBench \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

Phrases have 14 words on average; 50 tokens are read, as DiCoR reads them. The images have many
pixel sizes. Nobody has run this configuration yet: learning rate and schedule are those for
RefSegRS.
"""

import ml_collections

from rrsis_jax.configs import default


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = default.get_config("lgce")
    config.data.dataset = "risbench/official"
    config.model.text.max_tokens = 50
    return config
