"""The sections `model`, `loss` and `optim.groups` of LAVT, the base of its family."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.backbones.bert import config as bert
from rrsis_jax.models.backbones.swin import config as swin
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns LAVT with Swin-B and BERT as the LGCE paper trains it."""
    config = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.model.name = "lavt"  # the folder of rrsis_jax/models
    config.model.dtype = "float32"  # compute type; "bfloat16", or "float64" for verification
    config.model.remat = False  # recompute Swin blocks in the backward pass to save memory
    config.model.scan = False  # loop over equal Swin blocks: compiles faster, runs slower on a CPU
    config.model.vision = swin.get_config()
    config.model.text = bert.get_config()
    config.model.fusion = ml_collections.ConfigDict()
    config.model.fusion.num_heads = 1  # heads of the pixel-word attention
    config.model.fusion.dropout = 0.0

    config.loss = ml_collections.ConfigDict()
    config.loss.class_weights = (0.9, 1.1)  # cross-entropy weights of background and target
    config.loss.dice_weight = 0.0  # of the soft Dice loss beside the cross entropy

    config.groups = ml_collections.ConfigDict()
    config.groups.decay_matrices_only = False  # spare all biases and norms of weight decay
    config.groups.layer_decay = 1.0  # learning rate of a Swin block relative to the next one
    config.groups.text_scale = 1.0  # learning rate of the text encoder relative to the decoder
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    config = get_config()
    config.model.vision = swin.get_small()
    config.model.text = bert.get_small()
    return config


def summed_dice(dice_batch: int) -> ml_collections.ConfigDict:
    """Returns the section `loss` of models that add up Dice losses; see `lavt.summed_dice`.

    Args:
      dice_batch: samples on one device in the paper's training.
    """
    config = ml_collections.ConfigDict()
    config.class_weights = (0.9, 1.1)  # cross-entropy weights of background and target
    config.dice_weight = 0.1  # of the Dice loss of both classes; the cross entropy has the rest
    config.dice_batch = dice_batch  # samples whose Dice losses are added up: one device's
    return config


SUMMED_DICE_RULES: Mapping[str, Rule] = {
    "loss.dice_weight": validators.SHARE,
    "loss.dice_batch": validators.COUNT,
}

RULES: Mapping[str, Rule] = {
    "model.name": validators.TEXT,
    "model.dtype": validators.DTYPE,
    "model.remat": validators.FLAG,
    "model.scan": validators.FLAG,
    **swin.RULES,
    **bert.RULES,
    "model.fusion.num_heads": validators.COUNT,
    "model.fusion.dropout": validators.RATE,
    "loss.class_weights": validators.tuple_of(validators.POSITIVE, 2),
    "loss.dice_weight": validators.FROM_ZERO,
    "optim.groups.decay_matrices_only": validators.FLAG,
    "optim.groups.layer_decay": validators.number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "optim.groups.text_scale": validators.POSITIVE,
}

# Keys of version 0.1, when there was one family.
OLD: Mapping[str, str] = {
    "model.decoder": "model.name",
    "optim.decay_matrices_only": "optim.groups.decay_matrices_only",
    "optim.layer_decay": "optim.groups.layer_decay",
    "optim.text_scale": "optim.groups.text_scale",
    "model.fusion.live_gates": "",  # gone: the gates start as the reference's do
}

RECIPE = "lavt_refsegrs"  # the configuration of the paper's recipe
MARK = ""  # other models' published weights hold all names that LAVT's do
