"""DiCoR's coarse stage on RRSIS-D at 480×480.

  python main.py --config=configs/dicor_coarse_rrsisd.py --workdir=runs/dicor_rrsisd \
    --config.data.folder=/data/RRSIS-D \
    --config.model.vision.pretrained=/weights/swin_base_patch4_window12_384_22k.pth

The recipe is that for RefSegRS; 22 tokens of a phrase are read, and 27 records are left out, as by
the authors. Nobody has run this configuration yet.
"""

import ml_collections

from rrsis_jax.configs import dicor_coarse_refsegrs


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    return on_rrsisd(dicor_coarse_refsegrs.get_config())


def on_rrsisd(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Turns the configuration of a stage on RefSegRS into that on RRSIS-D."""
    config.data.dataset = "rrsisd/official"
    config.data.ground_sampling_distance = 0.0  # the images have many pixel sizes
    config.model.text.max_tokens = 22
    return config
