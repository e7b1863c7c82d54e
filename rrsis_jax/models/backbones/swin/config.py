"""The section `model.vision` of models with a Swin encoder."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns Swin-B with window 12 (Liu et al., ICCV 2021)."""
    config = ml_collections.ConfigDict()
    config.pretrained = ""  # Swin .pth file or Hugging Face folder; "" from scratch
    config.embed_dim = 128  # channels of the first stage, doubled at each later stage
    config.depths = (2, 2, 18, 2)  # blocks per stage
    config.num_heads = (4, 8, 16, 32)  # attention heads per stage
    config.window_size = 12  # side of an attention window, in patches
    config.drop_path_rate = 0.3  # of the last block, growing linearly from 0
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns a Swin that compiles in seconds."""
    config = get_config()
    config.embed_dim = 16
    config.depths = (1, 1, 1, 1)
    config.num_heads = (1, 2, 4, 8)
    config.window_size = 4
    return config


RULES: Mapping[str, Rule] = {
    "model.vision.pretrained": validators.TEXT,
    "model.vision.embed_dim": validators.COUNT,
    "model.vision.depths": validators.tuple_of(validators.COUNT, 4),
    "model.vision.num_heads": validators.tuple_of(validators.COUNT, 4),
    "model.vision.window_size": validators.COUNT,
    "model.vision.drop_path_rate": validators.RATE,
}
