"""The sections of FIANet: LAVT's, its loss, and those of its word masks and mixer."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.data import word_masks
from rrsis_jax.models.lavt import config as lavt
from rrsis_jax.validators import Rule

# The closed lists of the authors' data loader, in its order.
REFSEGRS_CLASSES = (
    "road",
    "vehicle",
    "car",
    "van",
    "building",
    "truck",
    "trailer",
    "bus",
    "road marking",
    "bikeway",
    "sidewalk",
    "tree",
    "low vegetation",
    "impervious surface",
)
RRSISD_CLASSES = (
    "airplane",
    "airport",
    "golf field",
    "expressway service area",
    "baseball field",
    "stadium",
    "ground track field",
    "storage tank",
    "basketball court",
    "chimney",
    "tennis court",
    "overpass",
    "train station",
    "ship",
    "expressway toll station",
    "dam",
    "harbor",
    "bridge",
    "vehicle",
    "windmill",
)


def get_config() -> ml_collections.ConfigDict:
    """Returns FIANet as its authors train it on RefSegRS (Lei et al., TGRS 2025)."""
    return _with_own_parts(lavt.get_config())


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    return _with_own_parts(lavt.get_small())


def _with_own_parts(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    config.model.name = "fianet"
    config.model.mixer = ml_collections.ConfigDict()  # text-aware, over all stages' maps (TMEM)
    config.model.mixer.depth = 1  # blocks; the authors take 3 for RRSIS-D
    config.model.word_masks = ml_collections.ConfigDict()  # words of a phrase's object and place
    config.model.word_masks.classes = REFSEGRS_CLASSES  # names that objects go by
    config.model.word_masks.tagger = "rules"  # parts of speech, by lists of the field's words
    config.model.word_masks.whole_words = False  # "bus" is not in "business"
    config.model.word_masks.all_pieces = False  # mark a word's tokens, not the word's number
    config.model.word_masks.object_with_ends = False  # mark [CLS], [SEP] too: one word is heard
    config.loss = lavt.summed_dice(dice_batch=8)
    return config


RULES: Mapping[str, Rule] = {
    **lavt.RULES,
    **lavt.SUMMED_DICE_RULES,
    "model.mixer.depth": validators.COUNT,
    "model.word_masks.classes": validators.tuple_of(validators.TEXT),
    "model.word_masks.tagger": validators.one_of(*word_masks.TAGGERS),
    "model.word_masks.whole_words": validators.FLAG,
    "model.word_masks.all_pieces": validators.FLAG,
    "model.word_masks.object_with_ends": validators.FLAG,
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "fianet_refsegrs"

# A name that no other model's published weights hold.
MARK = r"backbone\.tmem\..*"
