"""Where every weight of the published RMSIN lies in our tree."""

import ml_collections

from rrsis_jax.models.backbones.bert.weights import bert_rules
from rrsis_jax.models.backbones.swin.weights import swin_rules
from rrsis_jax.models.lavt.part_rules import (
    PIXELWISE,
    batch_norm,
    intra_scale_rules,
    joint_scales_rules,
    rotated_convolution_rules,
)
from rrsis_jax.models.lavt.weights import family_table, fusion_rules
from rrsis_jax.weights.mapping import CONV, Rule, WeightTable, linear

TOKEN_MIXING = "backbone.cim.block.0.csa1.m.attention.proj.weight"  # (positions, tokens)


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of RMSIN map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    return family_table(config, rules(config.text.max_tokens), text_apart=False)


def rules(max_tokens: int) -> list[Rule]:
    """Returns all rules.

    Args:
      max_tokens: rows of BERT's position table that are read.
    """
    return [
        *swin_rules("backbone."),
        *fusion_rules(),
        *intra_scale_rules(),
        *joint_scales_rules("backbone.cim", "decoder/cross_scale"),
        *_mixer_rules(),
        *_decoder_rules(),
        *bert_rules(max_tokens),
    ]


def _mixer_rules() -> list[Rule]:
    theirs, ours = "backbone.cim.block.0", "decoder/mixer"
    rules = []
    for number in (1, 2):
        rules += _attention_rules(f"{theirs}.csa{number}.m", f"{ours}/attention{number}")
    for index in range(4):
        rules += _feed_forward_rules(
            f"{theirs}.intra_ff.m.ff{index + 1}.m", f"{ours}/within_{index}"
        )
    return rules + _feed_forward_rules(f"{theirs}.ff.m", f"{ours}/feed_forward")


def _attention_rules(theirs: str, ours: str) -> list[Rule]:
    attention, params = f"{theirs}.attention", f"params/{ours}"
    return [
        *batch_norm(f"{theirs}.bn1", f"{ours}/bn_in"),
        *linear(f"{theirs}.DWConv1.0", f"{params}/half", transform=CONV),
        *batch_norm(f"{theirs}.DWConv1.1", f"{ours}/bn_half"),
        *linear(f"{theirs}.DWConv2.0", f"{params}/third", transform=CONV),
        *batch_norm(f"{theirs}.DWConv2.1", f"{ours}/bn_third"),
        *linear(f"{attention}.qkv.c", f"{params}/qkv", bias=False),
        *batch_norm(f"{attention}.qkv.bn", f"{ours}/bn_qkv"),
        *linear(f"{attention}.parallel_conv.1", f"{params}/local_conv", transform=CONV),
        *linear(f"{attention}.proj", f"{params}/proj"),
        *linear(f"{attention}.to_out", f"{params}/out"),
        *batch_norm(f"{theirs}.bn4", f"{ours}/bn_out"),
        *linear(f"{theirs}.conv", f"{params}/point", transform=PIXELWISE),
    ]


def _feed_forward_rules(theirs: str, ours: str) -> list[Rule]:
    return [
        *batch_norm(f"{theirs}.bn1", f"{ours}/bn_in"),
        *linear(f"{theirs}.conv1", f"params/{ours}/fc1", transform=PIXELWISE),
        *batch_norm(f"{theirs}.bn2", f"{ours}/bn_inner"),
        *linear(f"{theirs}.conv2", f"params/{ours}/conv", transform=CONV),
        *linear(f"{theirs}.conv3", f"params/{ours}/fc2", transform=PIXELWISE),
    ]


def _decoder_rules() -> list[Rule]:
    rules = linear("classifier.conv1_1", "params/decoder/classifier", transform=PIXELWISE)
    for coarse in (4, 3, 2):
        join, turn = f"decoder/join_c{coarse - 1}", f"decoder/turn_c{coarse - 1}"
        rules += linear(
            f"classifier.conv1_{coarse}", f"params/{join}/conv", bias=False, transform=CONV
        )
        rules += batch_norm(f"classifier.bn1_{coarse}", f"{join}/bn")
        rules += rotated_convolution_rules(f"classifier.conv2_{coarse}", turn)
        rules += batch_norm(f"classifier.bn2_{coarse}", f"{turn}_bn")
    return rules
