"""Where every weight of the published FIANet lies in our tree."""

import dataclasses

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.bert.weights import bert_rules
from rrsis_jax.models.backbones.swin.weights import BACKBONE, swin_rules
from rrsis_jax.models.lavt.part_rules import joint_scales_rules
from rrsis_jax.models.lavt.weights import (
    ENCODER_SKIPS,
    family_table,
    fusion_rules,
    lavt_decoder_rules,
)
from rrsis_jax.weights.mapping import CONV, POINTWISE, Rule, Skip, WeightTable, linear, norm

_NEVER_CALLED = [
    Skip(r"backbone\.layers\.\d+\.object_position_align_blk\.go_embedding\..*", "never called"),
]
SKIPS = [*ENCODER_SKIPS, *_NEVER_CALLED]
_NAMES = {"fusion": "context_pixel_attn", "res_gate": "context_tanh_gate"}  # LAVT's: FIANet's
_ATTENTION = {"f_query.0": "query", "f_key.0": "key", "f_value.0": "value", "W.0": "out"}


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of FIANet map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    shapes = inert_shapes(config.vision.embed_dim)
    return family_table(
        config,
        rules(config.text.max_tokens),
        _NEVER_CALLED,
        text_apart=False,
        inert=lambda: {name: np.zeros(shape, np.float32) for name, shape in shapes.items()},
    )


def rules(max_tokens: int) -> list[Rule]:
    """Returns all rules.

    Args:
      max_tokens: rows of BERT's position table that are read.
    """
    return [
        *swin_rules("backbone."),
        *map(_renamed, fusion_rules()),
        *_stage_rules(),
        *joint_scales_rules("backbone.tmem", "decoder/scales"),
        *_mixer_rules(),
        *lavt_decoder_rules("decoder/lavt"),
        *bert_rules(max_tokens),
    ]


def _renamed(rule: Rule) -> Rule:
    """Returns a rule of LAVT's fusion with the part's name in FIANet."""
    source = ".".join(_NAMES.get(part, part) for part in rule.source.split("."))
    return dataclasses.replace(rule, source=source)


def _attention_rules(theirs: str, ours: str) -> list[Rule]:
    return [
        rule
        for foreign, own in _ATTENTION.items()
        for rule in linear(f"{theirs}.{foreign}", f"{ours}/{own}", transform=POINTWISE)
    ]


def _stage_rules() -> list[Rule]:
    theirs, ours = "backbone.layers.{i}", BACKBONE + "/layers_{i}"
    block, alignment = f"{theirs}.object_position_align_blk", f"{ours}/alignment"
    return [
        *linear(f"{theirs}.fc1", f"{ours}/channels/fc1"),
        *linear(f"{theirs}.fc2", f"{ours}/channels/fc2"),
        *_attention_rules(f"{block}.go_cross_attn", f"{alignment}/object_attention"),
        *_attention_rules(f"{block}.sp_cross_attn", f"{alignment}/position_attention"),
        *linear(f"{block}.go_tanh_gating.0", f"{alignment}/object_gate/fc1", bias=False),
        *linear(f"{block}.go_tanh_gating.2", f"{alignment}/object_gate/fc2", bias=False),
        *linear(f"{block}.conv1", f"{alignment}/place", bias=False, transform=CONV),
    ]


def _mixer_rules() -> list[Rule]:
    theirs, ours = "backbone.tmem.block.{i}", "params/decoder/mixer/blocks_{i}"
    return [
        *norm(f"{theirs}.norm1", f"{ours}/norm1"),
        *_attention_rules(f"{theirs}.tma", f"{ours}/attention"),
        *norm(f"{theirs}.norm2", f"{ours}/norm2"),
        *linear(f"{theirs}.ff.net.0", f"{ours}/mlp/fc1"),
        *linear(f"{theirs}.ff.net.3", f"{ours}/mlp/fc2"),
    ]


def inert_shapes(embed_dim: int) -> dict[str, tuple[int, ...]]:
    """Returns the published names that are never called, with their shapes.

    Args:
      embed_dim: width of the first stage.
    """
    block = "backbone.layers.{}.object_position_align_blk.go_embedding.weight"
    return {block.format(i): (embed_dim * 2**i, embed_dim * 2**i) for i in range(4)}
