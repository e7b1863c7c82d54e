"""The sections `model`, `loss`, `optim.groups` and `data.arrays` of the stand-in."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns the only size that there is."""
    config = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.model.name = "tiny"
    config.model.dtype = "float32"  # compute type
    config.model.width = 16  # channels
    config.model.max_tokens = 24  # letters of a phrase that are read
    config.loss = ml_collections.ConfigDict()
    config.loss.context_weight = 0.5  # of the loss of what the small image alone answers
    config.groups = ml_collections.ConfigDict()
    config.groups.letters_rate = 2.0  # learning rate of the letters relative to all else
    config.arrays = ml_collections.ConfigDict()
    config.arrays.context = ()  # .npy files of maps that training adds to the small image
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns the same."""
    return get_config()


RULES: Mapping[str, Rule] = {
    "model.name": validators.TEXT,
    "model.dtype": validators.DTYPE,
    "model.width": validators.COUNT,
    "model.max_tokens": validators.COUNT,
    "loss.context_weight": validators.FROM_ZERO,
    "optim.groups.letters_rate": validators.POSITIVE,
    "data.arrays.context": validators.tuple_of(validators.TEXT),
}

OLD: Mapping[str, str] = {}
MARK = r"stand_in\..*"
RECIPE = "tiny_refsegrs"
