"""Where every weight of the published FIANet lies in our tree."""

import dataclasses

from rrsis_jax.models.backbones.bert.weights import BERT_SKIPS, bert_rules
from rrsis_jax.models.backbones.swin.weights import BACKBONE, SWIN_SKIPS, swin_rules
from rrsis_jax.models.lavt.part_rules import joint_scales_rules
from rrsis_jax.models.lavt.weights import DECODER_SKIPS, fusion_rules, lavt_decoder_rules
from rrsis_jax.weights.mapping import CONV, POINTWISE, Rule, Skip, linear, norm

SKIPS = [
    *SWIN_SKIPS,
    *BERT_SKIPS,
    *DECODER_SKIPS,
    Skip(r"backbone\.layers\.\d+\.object_position_align_blk\.go_embedding\..*", "never called"),
]
_NAMES = {"fusion": "context_pixel_attn", "res_gate": "context_tanh_gate"}  # LAVT's: FIANet's
_ATTENTION = {"f_query.0": "query", "f_key.0": "key", "f_value.0": "value", "W.0": "out"}


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
