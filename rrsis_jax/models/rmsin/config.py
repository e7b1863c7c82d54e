"""The sections of RMSIN: LAVT's, its loss, and those of the cross-scale and rotated layers."""

from collections.abc import Mapping

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.lavt import config as lavt
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns RMSIN as its authors train it (Liu et al., CVPR 2024)."""
    return _with_interactions(lavt.get_config())


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    return _with_interactions(lavt.get_small())


def _with_interactions(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    config.model.name = "rmsin"
    config.model.cross_scale = ml_collections.ConfigDict()  # attention over all stages' maps
    config.model.cross_scale.ordered = False  # keep positions positions; the code mixes them up
    config.model.rotation = ml_collections.ConfigDict()  # adaptive rotated convolutions
    config.model.rotation.dropout = 0.2  # before a kernel's strength and angle
    config.loss = lavt.summed_dice(dice_batch=2)
    return config


RULES: Mapping[str, Rule] = {
    **lavt.RULES,
    **lavt.SUMMED_DICE_RULES,
    "model.cross_scale.ordered": validators.FLAG,
    "model.rotation.dropout": validators.RATE,
}

OLD: Mapping[str, str] = {}  # younger than every former name

RECIPE = "rmsin_refsegrs"

# A name that no other model's published weights hold.
MARK = r"backbone\.cim\..*"
