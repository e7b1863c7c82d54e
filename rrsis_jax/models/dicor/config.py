"""The sections of DiCoR: LAVT's, the stage that is trained, its parts, and stored rows."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.dicor.stages import STAGES
from rrsis_jax.models.lavt import config as lavt
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns the coarse stage as the authors train it."""
    return _with_own_parts(lavt.get_config())


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts, that of the joint stage."""
    config = _with_own_parts(lavt.get_small())
    config.model.stage = "joint"
    config.model.vision.embed_dim = 32  # eight heads divide an eighth of all scales' channels
    config.model.mixer.depth = 1
    config.model.guide.end_ids = (2, 3)
    config.model.refiner.width = 4
    return config


def _with_own_parts(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    config.model.name = "dicor"
    config.model.stage = "coarse"  # or "refiner", "guide", "joint": what is trained, on what
    config.model.mixer = ml_collections.ConfigDict()  # over all stages' maps (VMSF, LVMSF)
    config.model.mixer.depth = 3  # blocks
    config.model.mixer.carried = True  # the joint stage starts from the coarse stage's blocks
    config.model.guide = ml_collections.ConfigDict()  # finds the place that the phrase means
    config.model.guide.end_ids = (101, 102)  # ids of [CLS] and [SEP]; of a trained tokenizer 2, 3
    config.model.refiner = ml_collections.ConfigDict()  # corrects the mask at full resolution
    config.model.refiner.width = 64  # channels of its finest level; 0 for a joint stage without it
    config.model.prompts = ml_collections.ConfigDict()  # what later stages take of a coarse run
    config.model.prompts.iou = 0.1  # least overlap of a prediction with its target
    config.model.prompts.area = 1e-4  # least share of the image that is predicted
    config.loss.dice_weight = 1.0  # of both classes' mean Dice loss; of the coarse and joint stage
    config.groups.ranker_rate = 0.625  # learning rate of the guide's ranking: 5e-4 of 8e-4
    config.groups.text_norm_rate = 1.0  # of the joint stage's norm of the words, as all of these
    config.groups.text_norm_decay = 0.01  # weight decay of that norm: 1e-4 of 1e-2
    config.arrays = (
        ml_collections.ConfigDict()
    )  # .npy files of a row for each training sample, or folders
    config.arrays.prompt = ()  # a folder of `rrsis-prompts`, or its files: see the card
    config.arrays.distractors = ()  # nonzero where like objects lie that are not meant, stride 4
    return config


RULES: Mapping[str, Rule] = {
    **lavt.RULES,
    "model.stage": validators.one_of(*STAGES),
    "model.mixer.depth": validators.COUNT,
    "model.mixer.carried": validators.FLAG,
    "model.guide.end_ids": validators.tuple_of(validators.MANY, 2),
    "model.refiner.width": validators.MANY,
    "model.prompts.iou": validators.SHARE,
    "model.prompts.area": validators.SHARE,
    "optim.groups.ranker_rate": validators.POSITIVE,
    "optim.groups.text_norm_rate": validators.POSITIVE,
    "optim.groups.text_norm_decay": validators.FROM_ZERO,
    "data.arrays.prompt": validators.tuple_of(validators.TEXT),
    "data.arrays.distractors": validators.tuple_of(validators.TEXT),
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "dicor_joint_refsegrs"

# A name that no other model's published weights hold.
MARK = r"backbone\.VMSF\..*"
