"""The sections of AeroReformer: LAVT's, its loss, and those of its fusion and decoder."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.lavt import config as lavt
from rrsis_jax.validators import Rule


def get_config() -> ml_collections.ConfigDict:
    """Returns AeroReformer as its authors train it (Li et al., 2025)."""
    return _with_own_parts(lavt.get_config())


def get_small() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts."""
    return _with_own_parts(lavt.get_small())


def _with_own_parts(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    config.model.name = "aeroreformer"
    config.model.text.keep_end = True  # [SEP] ends a phrase that is cut; LAVT's code loses it
    config.model.fusion.num_heads = 4  # of the cross-attention at every stage
    config.model.fusion.inner_dropout = 0.1  # of attention weights and feed-forward
    config.model.attention = ml_collections.ConfigDict()  # linear attention of the decoder
    config.model.attention.plain_channels = False  # normalise rows as the formula says
    config.model.rotation = ml_collections.ConfigDict()  # adaptive rotated convolutions
    config.model.rotation.dropout = 0.2  # before a kernel's strength and angle
    config.loss = lavt.summed_dice(dice_batch=8)
    return config


RULES: Mapping[str, Rule] = {
    **lavt.RULES,
    **lavt.SUMMED_DICE_RULES,
    "model.text.keep_end": validators.FLAG,
    "model.fusion.inner_dropout": validators.RATE,
    "model.attention.plain_channels": validators.FLAG,
    "model.rotation.dropout": validators.RATE,
}

OLD: Mapping[str, str] = {}  # younger than every former name

LATER: Mapping[str, Any] = {"model.text.keep_end": False}

RECIPE = "aeroreformer_refsegrs"

# A name that no other model's published weights hold.
MARK = r"classifier\.pa1\..*"
