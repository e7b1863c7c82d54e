"""Where every weight of the published AeroReformer lies in our tree."""

import ml_collections

from rrsis_jax.models.backbones.bert.weights import bert_rules
from rrsis_jax.models.backbones.swin.weights import BACKBONE, swin_rules
from rrsis_jax.models.lavt.part_rules import (
    PIXELWISE,
    batch_norm,
    intra_scale_rules,
    rotated_convolution_rules,
)
from rrsis_jax.models.lavt.weights import family_table, fusion_rules
from rrsis_jax.weights.mapping import LINEAR, POINTWISE, Rule, Transform, WeightTable, linear, norm

# (1, C, 1) <-> (C,)
_VECTOR = Transform(lambda x: x[0, :, 0], lambda x: x[None, :, None])
# Of a transposed convolution: (in, out, rows, columns) <-> (rows, columns, in, out)
_TRANSPOSED = Transform(lambda x: x.transpose(2, 3, 0, 1), lambda x: x.transpose(2, 3, 0, 1))


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of AeroReformer map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    return family_table(config, rules(config.text.max_tokens), text_apart=False)


def rules(max_tokens: int) -> list[Rule]:
    """Returns all rules.

    Args:
      max_tokens: rows of BERT's position table that are read.
    """
    shared = [rule for rule in fusion_rules() if ".fusion." not in rule.source]  # gates, norms
    return [
        *swin_rules("backbone."),
        *shared,
        *_fusion_rules(),
        *intra_scale_rules(),
        *_decoder_rules(),
        *bert_rules(max_tokens),
    ]


def _fusion_rules() -> list[Rule]:
    theirs, ours = "backbone.layers.{i}.fusion", BACKBONE + "/layers_{i}/fusion"
    attention = f"{theirs}.image_lang_attn"
    projections = {
        f"{theirs}.vis_project.0": "vis_project",
        f"{attention}.f_query.0": "query",
        f"{attention}.f_key": "key",
        f"{attention}.f_value": "value",
        f"{attention}.W_o.0": "attended",
        f"{attention}.ffn.0": "fc1",
        f"{attention}.ffn.3": "fc2",
        f"{theirs}.project_mm.0": "project_mm",
    }
    rules = [
        Rule(f"{attention}.pos_embedding", f"{ours}/query_offset", _VECTOR),
        Rule(f"{attention}.mha.in_proj_weight", f"{ours}/attention/in_kernel", LINEAR),
        Rule(f"{attention}.mha.in_proj_bias", f"{ours}/attention/in_bias"),
        *linear(f"{attention}.mha.out_proj", f"{ours}/attention/out"),
        *norm(f"{attention}.norm_attn", f"{ours}/norm_attn"),
        *norm(f"{attention}.norm_ffn", f"{ours}/norm_ffn"),
    ]
    for foreign, own in projections.items():
        rules += linear(foreign, f"{ours}/{own}", transform=POINTWISE)
    return rules


def _decoder_rules() -> list[Rule]:
    decoder = "params/decoder"
    rules = linear("classifier.final_conv", f"{decoder}/classifier", transform=PIXELWISE)
    for level in (1, 2, 3, 4):
        rules += _point_rules(f"lat{level}", f"lateral_{level}")
    for level in (1, 2, 3):
        coarser = level + 1
        rules += _point_rules(f"reduce{coarser}", f"reduce_{level}")
        rules += linear(
            f"classifier.up{coarser}.0", f"{decoder}/up_{coarser}", transform=_TRANSPOSED
        )
        smooth = f"classifier.smooth{level}"
        rules += rotated_convolution_rules(f"{smooth}.0", f"decoder/turn_{level}")
        rules += batch_norm(f"{smooth}.1", f"decoder/turn_{level}_bn")
        attention = "classifier.pa1" if level == 1 else f"classifier.ca{level}"
        rules.append(Rule(f"{attention}.gamma", f"{decoder}/attention_{level}/gamma"))
    for name in ("query", "key", "value"):
        rules += linear(
            f"classifier.pa1.{name}_conv", f"{decoder}/attention_1/{name}", transform=PIXELWISE
        )
    return rules


def _point_rules(foreign: str, own: str) -> list[Rule]:
    """Returns the rules of a 1×1 convolution with its batch norm."""
    return [
        *linear(f"classifier.{foreign}.0", f"params/decoder/{own}/point", transform=PIXELWISE),
        *batch_norm(f"classifier.{foreign}.1", f"decoder/{own}/bn"),
    ]
