"""The section `model.beit3` of models that stand on BEiT-3, and its published size."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule

# The published size that models here stand on.
SIZES: Mapping[str, Mapping[str, int]] = {
    "beit3_large_patch16_224": {
        "width": 1024,
        "mlp_dim": 4096,
        "depth": 24,
        "num_heads": 16,
        "image_size": 224,
        "patch_size": 16,
        "vocab_size": 64_010,
        "text_positions": 1024,
    },
}
_FIELDS = tuple(SIZES["beit3_large_patch16_224"])
# Position tables are read from this row on; the rows before are those of padding in the code that
# they come from.
FIRST_POSITION = 2


def get_config(size: str = "beit3_large_patch16_224") -> ml_collections.ConfigDict:
    """Returns a published size, its weights as their authors name the file.

    The vocabulary, beit3.spm, is looked for beside them.

    Args:
      size: one of `SIZES`.
    """
    config = ml_collections.ConfigDict()
    config.pretrained = f"{size}.pth"  # file, folder or hf:// address; "" from scratch
    sizes = SIZES[size]
    config.width = sizes["width"]  # channels of all tokens
    config.mlp_dim = sizes["mlp_dim"]  # inner width of the feed-forward layers
    config.depth = sizes["depth"]  # layers
    config.num_heads = sizes["num_heads"]  # attention heads
    config.image_size = sizes["image_size"]  # side of the image that it reads, in pixels
    config.patch_size = sizes["patch_size"]  # side of a patch, in pixels
    config.vocab_size = sizes["vocab_size"]  # rows of the token table
    config.text_positions = sizes["text_positions"]  # rows of the text's, two of them unread
    config.max_tokens = 64  # tokens of a phrase; longer ones are cut
    return config


def get_small() -> ml_collections.ConfigDict:
    """Returns a BEiT-3 that compiles in seconds and starts from scratch."""
    config = get_config()
    config.pretrained = ""
    config.width = 32
    config.mlp_dim = 32
    config.depth = 1
    config.num_heads = 2
    config.image_size = 16
    config.patch_size = 8
    config.vocab_size = 256
    config.text_positions = 16
    config.max_tokens = 12
    return config


RULES: Mapping[str, Rule] = {
    "model.beit3.pretrained": validators.TEXT,
    "model.beit3.max_tokens": validators.whole(3),
    **{f"model.beit3.{name}": validators.COUNT for name in _FIELDS},
}


def fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the fields of `network.Beit3` that the section sets.

    Args:
      config: the section `model.beit3`.
    """
    return {name: getattr(config, name) for name in _FIELDS}


def find_problems(config: ml_collections.ConfigDict) -> list[str]:
    """Returns one sentence for each value of the section that does not fit the others.

    Args:
      config: the section `model.beit3`.
    """
    problems = [
        f"beit3.{divisor} is {config[divisor]}; it must divide beit3.{whole} ({config[whole]})"
        for divisor, whole in (("num_heads", "width"), ("patch_size", "image_size"))
        if config[whole] % config[divisor]
    ]
    longest = config.text_positions - FIRST_POSITION
    if config.max_tokens > longest:
        problems.append(
            f"beit3.max_tokens is {config.max_tokens}; it must be at most {longest}, "
            f"beit3.text_positions less the {FIRST_POSITION} rows that are not read"
        )
    return problems
