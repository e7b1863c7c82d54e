"""The section `model.siglip` of models with SigLIP's towers, and the published sizes."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule

_SO400M = {"width": 1152, "mlp_dim": 4304, "depth": 27, "num_heads": 16, "text_positions": 64}
# The published sizes that models here stand on.
SIZES: Mapping[str, Mapping[str, int]] = {
    "siglip_so400m_patch14_384": {
        **_SO400M,
        "patch_size": 14,
        "image_size": 384,
        "vocab_size": 32_000,
    },
    "siglip2_so400m_patch16_512": {
        **_SO400M,
        "patch_size": 16,
        "image_size": 512,
        "vocab_size": 256_000,
    },
}
_FIELDS = (*_SO400M, "patch_size", "image_size", "vocab_size")


def get_config(size: str = "siglip_so400m_patch14_384") -> ml_collections.ConfigDict:
    """Returns a published size, its weights and tokenizer on the hub.

    Args:
      size: one of `SIZES`.
    """
    config = ml_collections.ConfigDict()
    name = size.replace("_", "-")
    config.pretrained = f"hf://google/{name}"  # file, folder or hf:// address; "" from scratch
    sizes = SIZES[size]
    config.width = sizes["width"]  # channels of both towers
    config.depth = sizes["depth"]  # layers of each tower
    config.num_heads = sizes["num_heads"]  # attention heads
    config.mlp_dim = sizes["mlp_dim"]  # inner width of the feed-forward layers
    config.patch_size = sizes["patch_size"]  # side of a patch, in pixels
    config.image_size = sizes["image_size"]  # the image is resized to this square on the device
    config.vocab_size = sizes["vocab_size"]  # rows of the token table
    config.text_positions = sizes["text_positions"]  # rows of the text's position table
    config.max_tokens = sizes["text_positions"]  # tokens of a phrase; longer ones are cut
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns towers that compile in seconds and start from scratch."""
    config = get_config()
    config.pretrained = ""
    config.width = 24
    config.depth = 2
    config.num_heads = 3
    config.mlp_dim = 40
    config.patch_size = 6
    config.image_size = 42
    config.vocab_size = 192
    config.text_positions = 24
    config.max_tokens = 12
    return config


RULES: Mapping[str, Rule] = {
    "model.siglip.pretrained": validators.TEXT,
    **{f"model.siglip.{name}": validators.COUNT for name in (*_FIELDS, "max_tokens")},
}


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the fields of `network.Siglip` that the section sets.

    Args:
      config: the section `model.siglip`.
    """
    return {name: getattr(config, name) for name in _FIELDS}


def find_problems(config: ml_collections.ConfigDict) -> list[str]:
    """Returns one sentence for each value of the section that does not fit the others."""
    problems = []
    if config.width % config.num_heads:
        problems.append(
            f"siglip.num_heads is {config.num_heads}; it must divide siglip.width ({config.width})"
        )
    if config.image_size < config.patch_size:
        problems.append(
            f"siglip.image_size is {config.image_size}; it must hold a patch of "
            f"siglip.patch_size ({config.patch_size}) pixels"
        )
    if config.max_tokens > config.text_positions:
        problems.append(
            f"siglip.max_tokens is {config.max_tokens}; it must be at most "
            f"siglip.text_positions ({config.text_positions})"
        )
    return problems
