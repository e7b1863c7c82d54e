"""The section `model.sam` of models with SAM, and the published sizes of its image encoder."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule

# The published sizes.
SIZES: Mapping[str, Mapping[str, Any]] = {
    "sam_vit_b": {"width": 768, "depth": 12, "num_heads": 12, "global_layers": (2, 5, 8, 11)},
    "sam_vit_l": {"width": 1024, "depth": 24, "num_heads": 16, "global_layers": (5, 11, 17, 23)},
    "sam_vit_h": {"width": 1280, "depth": 32, "num_heads": 16, "global_layers": (7, 15, 23, 31)},
}
_HUB = {"sam_vit_b": "base", "sam_vit_l": "large", "sam_vit_h": "huge"}


def get_config(size: str = "sam_vit_b") -> ml_collections.ConfigDict:
    """Returns a published size, its weights on the hub.

    Args:
      size: one of `SIZES`.
    """
    config = ml_collections.ConfigDict()
    # File, folder or hf:// address, under Meta's names or Hugging Face's; "" from scratch.
    config.pretrained = f"hf://facebook/sam-vit-{_HUB[size]}"
    sizes = SIZES[size]
    config.width = sizes["width"]  # channels of the image encoder
    config.depth = sizes["depth"]  # its layers
    config.num_heads = sizes["num_heads"]  # its attention heads
    config.global_layers = sizes["global_layers"]  # layers that attend over the whole map
    config.mlp_dim = 4 * sizes["width"]  # inner width of its feed-forward layers
    config.patch_size = 16  # side of a patch, in pixels
    config.window = 14  # side of an attention window, in patches
    config.features = 256  # width of embeddings and prompts
    config.mask_channels = 16  # of the encoder of mask prompts
    config.decoder_heads = 8  # attention heads of the mask decoder
    config.decoder_mlp_dim = 2048  # inner width of its feed-forward layers
    config.iou_hidden = 256  # inner width of the head that judges masks
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns a SAM that compiles in seconds and starts from scratch."""
    config = get_config()
    config.pretrained = ""
    config.width = 32
    config.depth = 2
    config.num_heads = 4
    config.global_layers = (1,)
    config.mlp_dim = 48
    config.patch_size = 8
    config.window = 4
    config.features = 128
    config.mask_channels = 16
    config.decoder_heads = 4
    config.decoder_mlp_dim = 32
    config.iou_hidden = 16
    return config


_COUNTS = (
    "width",
    "depth",
    "num_heads",
    "mlp_dim",
    "patch_size",
    "window",
    "features",
    "mask_channels",
    "decoder_heads",
    "decoder_mlp_dim",
    "iou_hidden",
)
RULES: Mapping[str, Rule] = {
    "model.sam.pretrained": validators.TEXT,
    "model.sam.global_layers": validators.tuple_of(validators.MANY),
    **{f"model.sam.{name}": validators.COUNT for name in _COUNTS},
}


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the fields of `network.Sam` that the section sets.

    Args:
      config: the section `model.sam`.
    """
    layers = tuple(config.global_layers)
    return {"global_layers": layers, **{name: getattr(config, name) for name in _COUNTS}}


def decoder_problems(section: str, config: ml_collections.ConfigDict) -> list[str]:
    """Returns one sentence for each width that prompt encoder and mask decoder cannot have.

    Args:
      section: the name that the sentences give it; SAM 2 has the same decoder.
      config: the section, with `features`, `decoder_heads` and `mask_channels`.
    """
    problems = []
    if config.features % (2 * config.decoder_heads) or config.features % 8:
        problems.append(
            f"{section}.features is {config.features}; it must be a multiple of 8 and of twice "
            f"{section}.decoder_heads ({config.decoder_heads})"
        )
    if config.mask_channels % 4:
        problems.append(
            f"{section}.mask_channels is {config.mask_channels}; it must be a multiple of 4"
        )
    return problems


def find_problems(config: ml_collections.ConfigDict, image_size: int) -> list[str]:
    """Returns one sentence for each value of the section that does not fit the others.

    Args:
      config: the section `model.sam`.
      image_size: side of the image in pixels.
    """
    problems = []
    if config.width % config.num_heads:
        problems.append(
            f"sam.num_heads is {config.num_heads}; it must divide sam.width ({config.width})"
        )
    problems += decoder_problems("sam", config)
    beyond = [layer for layer in config.global_layers if layer >= config.depth]
    if beyond:
        problems.append(
            f"sam.global_layers names layer {beyond[0]}; the last of sam.depth ({config.depth}) "
            f"layers is {config.depth - 1}"
        )
    if image_size % config.patch_size:
        problems.append(
            f"data.image_size is {image_size}; it must be a multiple of sam.patch_size "
            f"({config.patch_size})"
        )
    return problems
