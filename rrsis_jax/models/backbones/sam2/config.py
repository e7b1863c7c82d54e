"""The section `model.sam2` of models with SAM 2, and the published sizes of its image encoder."""

import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models.backbones.sam import config as sam
from rrsis_jax.validators import Rule

_LARGE = {
    "embed_dim": 144,
    "num_heads": 2,
    "depths": (2, 6, 36, 4),
    "windows": (8, 4, 16, 8),
    "global_blocks": (23, 33, 43),
    "background": 7,
}
_BASE_PLUS = {
    "embed_dim": 112,
    "num_heads": 2,
    "depths": (2, 3, 16, 3),
    "windows": (8, 4, 14, 7),
    "global_blocks": (12, 16, 20),
    "background": 14,
}
_SMALL = {
    "embed_dim": 96,
    "num_heads": 1,
    "depths": (1, 2, 11, 2),
    "windows": (8, 4, 14, 7),
    "global_blocks": (7, 10, 13),
    "background": 7,
}
_TINY = {**_SMALL, "depths": (1, 2, 7, 2), "global_blocks": (5, 7, 9)}
# The published sizes. For still images 2.1 differs from 2 in its weights alone.
SIZES: Mapping[str, Mapping[str, Any]] = {
    f"{release}_hiera_{name}": size
    for release in ("sam2", "sam2.1")
    for name, size in (
        ("tiny", _TINY),
        ("small", _SMALL),
        ("base_plus", _BASE_PLUS),
        ("large", _LARGE),
    )
}


def get_config(size: str = "sam2.1_hiera_large") -> ml_collections.ConfigDict:
    """Returns a published size, its weights on the hub.

    Args:
      size: one of `SIZES`.
    """
    config = ml_collections.ConfigDict()
    repository = size.replace("_", "-")
    # File, folder or hf:// address, under Meta's names or Hugging Face's; "" from scratch.
    config.pretrained = f"hf://facebook/{repository}/{size}.pt"
    sizes = SIZES[size]
    config.embed_dim = sizes["embed_dim"]  # channels of the first stage, doubled at each later one
    config.num_heads = sizes["num_heads"]  # attention heads of the first stage, likewise
    config.depths = sizes["depths"]  # blocks of each stage
    config.windows = sizes["windows"]  # side of each stage's attention windows
    config.global_blocks = sizes["global_blocks"]  # blocks that attend over the whole map
    config.background = sizes["background"]  # side of the position table that is resized
    config.features = 256  # width of embeddings and prompts
    config.mask_channels = 16  # of the encoder of mask prompts
    config.decoder_heads = 8  # attention heads of the mask decoder
    config.decoder_mlp_dim = 2048  # inner width of its feed-forward layers
    config.iou_hidden = 256  # inner width of the head that judges masks
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns a SAM 2 that compiles in seconds and starts from scratch."""
    config = get_config()
    config.pretrained = ""
    config.embed_dim = 8
    config.num_heads = 1
    config.depths = (1, 1, 1, 1)
    config.windows = (4, 2, 2, 2)
    config.global_blocks = (2,)
    config.background = 2
    config.features = 128
    config.mask_channels = 16
    config.decoder_heads = 4
    config.decoder_mlp_dim = 32
    config.iou_hidden = 16
    return config


_TUPLES = ("depths", "windows", "global_blocks")
_COUNTS = (
    "embed_dim",
    "num_heads",
    "background",
    "features",
    "mask_channels",
    "decoder_heads",
    "decoder_mlp_dim",
    "iou_hidden",
)
RULES: Mapping[str, Rule] = {
    "model.sam2.pretrained": validators.TEXT,
    "model.sam2.depths": validators.tuple_of(validators.COUNT, 4),
    "model.sam2.windows": validators.tuple_of(validators.COUNT, 4),
    "model.sam2.global_blocks": validators.tuple_of(validators.MANY),
    **{f"model.sam2.{name}": validators.COUNT for name in _COUNTS},
}


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the fields of `network.Sam2` that the section sets.

    Args:
      config: the section `model.sam2`.
    """
    tuples = {name: tuple(getattr(config, name)) for name in _TUPLES}
    return tuples | {name: getattr(config, name) for name in _COUNTS}


def find_problems(config: ml_collections.ConfigDict, image_size: int) -> list[str]:
    """Returns one sentence for each value of the section that does not fit the others.

    Args:
      config: the section `model.sam2`.
      image_size: side of the image in pixels.
    """
    problems = [
        f"sam2.{heads} is {config[heads]}; it must divide sam2.{width} ({config[width]})"
        for heads, width in (("num_heads", "embed_dim"), ("decoder_heads", "features"))
        if config[width] % config[heads]
    ]
    problems += sam.decoder_problems("sam2", config)
    blocks = sum(config.depths)
    beyond = [block for block in config.global_blocks if block >= blocks]
    if beyond:
        problems.append(
            f"sam2.global_blocks names block {beyond[0]}; the last of all sam2.depths is "
            f"{blocks - 1}"
        )
    odd = [window for window in config.windows[:-1] if window % 2]
    if odd:
        problems.append(
            f"sam2.windows has {odd[0]}; the next stage halves it, so it must be even "
            "(the last one may be odd)"
        )
    step = math.lcm(32, 4 * config.windows[0])
    if image_size % step:
        problems.append(
            f"data.image_size is {image_size}; it must be a multiple of {step}, for strides of up "
            "to 32 and whole windows of the first stage"
        )
    return problems
