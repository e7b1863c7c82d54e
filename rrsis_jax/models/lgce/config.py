"""The sections of LGCE: LAVT's and those of the cross-scale block's guide."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.lavt import config as lavt
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns LGCE as its paper trains it (Yuan et al., TGRS 2024, section IV-B)."""
    return _with_guide(lavt.get_config())


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    return _with_guide(lavt.get_small())


def _with_guide(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    config.model.name = "lgce"
    config.model.guide = ml_collections.ConfigDict()  # of the cross-scale block
    config.model.guide.over_words = False  # pool real tokens only; the paper pools padding too
    config.model.guide.live = False  # let the exchanged guide tokens modulate the positions
    return config


RULES: Mapping[str, Rule] = {
    **lavt.RULES,
    "model.guide.over_words": validators.FLAG,
    "model.guide.live": validators.FLAG,
}

OLD: Mapping[str, str] = lavt.OLD

RECIPE = "lgce_refsegrs"

# A name that no other model's published weights hold.
MARK = r"classifier\.msb\d\..*"
