"""The sections of RS2-SAM2: its two encoders, its loss, its parameter groups."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.backbones.beit3 import config as beit3
from rrsis_jax.models.backbones.sam2 import config as sam2
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns RS2-SAM2 as its authors train it (Rong et al., AAAI 2026)."""
    config = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.model.name = "rs2sam2"  # the folder of rrsis_jax/models
    config.model.dtype = "float32"  # compute type; "bfloat16", or "float64" for verification
    config.model.remat = False  # recompute the encoders' layers in the backward pass, saves memory
    config.model.scan = False  # loop over equal layers of the encoders: compiles faster
    config.model.beit3 = beit3.get_config("beit3_large_patch16_224")
    config.model.sam2 = sam2.get_config("sam2_hiera_large")

    config.loss = ml_collections.ConfigDict()
    config.loss.class_weights = (0.9, 1.1)  # cross-entropy weights of background and target
    config.loss.cross_entropy = 0.9  # factor of the cross entropy
    config.loss.dice = 0.1  # factor of the Dice loss of both classes
    config.loss.boundary = 0.2  # factor of the boundary loss, which trains one weight only

    config.groups = ml_collections.ConfigDict()
    config.groups.fast_rate = 2.0  # learning rate of adapters and mask prompt, to that of the rest
    config.groups.sam2_encoder = 0.0  # of SAM 2's image encoder but its adapters; 0 freezes it
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    config = get_config()
    config.model.beit3 = beit3.get_small()
    config.model.sam2 = sam2.get_small()
    config.model.sam2.embed_dim = 16  # of which adapters have a quarter, for four heads
    return config


TERMS = ("cross_entropy", "dice", "boundary")  # of the loss
RULES: Mapping[str, Rule] = {
    "model.name": validators.TEXT,
    "model.dtype": validators.DTYPE,
    "model.remat": validators.FLAG,
    "model.scan": validators.FLAG,
    **beit3.RULES,
    **sam2.RULES,
    "loss.class_weights": validators.tuple_of(validators.POSITIVE, 2),
    **{f"loss.{term}": validators.FROM_ZERO for term in TERMS},
    "optim.groups.fast_rate": validators.POSITIVE,
    "optim.groups.sam2_encoder": validators.FROM_ZERO,
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "rs2sam2_refsegrs"

# A name that no other model's published weights hold.
MARK = r"(evf_model\.)?visual_model\.image_encoder\.trunk\.blocks\.\d+\.Space_Adapter\..*"
