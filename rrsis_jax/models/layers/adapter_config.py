"""The section `model.lora` of models with low-rank adapters; see `adapters.Lora`."""

import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule


def get_config(
    layers: Mapping[str, str], rank: int = 16, alpha: float = 16.0, dropout: float = 0.0
) -> ml_collections.ConfigDict:
    """Returns the section.

    Args:
      layers: part of the network → pattern of the layers in it that have adapters.
      rank: width that an adapter goes through.
      alpha: see `adapters.Lora`.
      dropout: rate on what enters an adapter.
    """
    config = ml_collections.ConfigDict()
    config.rank = rank  # width that an adapter goes through; 0 for no adapters
    config.alpha = alpha  # what an adapter adds is multiplied by alpha / rank
    config.dropout = dropout  # rate on what enters an adapter in training
    config.layers = ml_collections.ConfigDict(layers)  # patterns of the last names of layers' paths
    return config


def rules(layers: Mapping[str, str]) -> dict[str, Rule]:
    """Returns the rule of each key of the section with such `layers`."""
    return {
        "model.lora.rank": validators.MANY,
        "model.lora.alpha": validators.POSITIVE,
        "model.lora.dropout": validators.RATE,
        **{f"model.lora.layers.{part}": _PATTERN for part in layers},
    }


def _compiles(pattern: Any) -> bool:
    if not isinstance(pattern, str) or not pattern:
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


_PATTERN = Rule("a regular expression of layers, as 'attn/(qkv|proj)'", _compiles)
