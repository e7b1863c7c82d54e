"""Where every weight of the reference implementations lives in our tree, as data.

Foreign names are those of the state dicts that the authors publish. Names that exist there and
are never called are listed as skips, with the reason.
"""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.swin import weights as swin_weights
from rrsis_jax.models.backbones.swin.network import relative_position_index
from rrsis_jax.models.backbones.swin.weights import BACKBONE
from rrsis_jax.models.lavt.problems import NUM_STAGES
from rrsis_jax.weights.mapping import (
    CONV,
    POINTWISE,
    Beginnings,
    Rule,
    Skip,
    WeightTable,
    linear,
    norm,
)

TEXT_PREFIX = "text_encoder."
OPTIONAL: dict[Beginnings, Beginnings] = {TEXT_PREFIX: "params/text_encoder/"}
DECODER_SKIPS = [Skip(r"(.*\.)?num_batches_tracked", "counter, not used")]


def fusion_rules() -> list[Rule]:
    """Returns the rules of pixel-word attention, gates and stage norms of LAVT and LGCE."""
    theirs, ours = "backbone.layers.{i}", BACKBONE + "/layers_{i}"
    projections = {
        "vis_project.0": "vis_project",
        "image_lang_att.f_query.0": "query",
        "image_lang_att.f_key.0": "key",
        "image_lang_att.f_value.0": "value",
        "image_lang_att.W.0": "out",
        "project_mm.0": "project_mm",
    }
    rules = [
        *linear(f"{theirs}.res_gate.0", f"{ours}/gate/fc1", bias=False),
        *linear(f"{theirs}.res_gate.2", f"{ours}/gate/fc2", bias=False),
        *norm("backbone.norm{i}", BACKBONE + "/norm{i}"),
    ]
    for foreign, own in projections.items():
        rules += linear(f"{theirs}.fusion.{foreign}", f"{ours}/fusion/{own}", transform=POINTWISE)
    return rules


def lavt_decoder_rules(decoder: str = "decoder") -> list[Rule]:
    """Returns the rules of LAVT's decoder.

    Args:
      decoder: path of the decoder in our tree.
    """
    rules = linear("classifier.conv1_1", f"params/{decoder}/classifier", transform=CONV)
    for coarse in (4, 3, 2):
        for block in (1, 2):
            own = f"{decoder}/join_c{coarse - 1}/block{block}"
            foreign = f"classifier.bn{block}_{coarse}"
            rules += linear(
                f"classifier.conv{block}_{coarse}",
                f"params/{own}/conv",
                bias=False,
                transform=CONV,
            )
            rules += norm(foreign, f"params/{own}/bn")
            rules += [
                Rule(f"{foreign}.running_mean", f"batch_stats/{own}/bn/mean"),
                Rule(f"{foreign}.running_var", f"batch_stats/{own}/bn/var"),
            ]
    return rules


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of LAVT map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    return family_table(config, [*encoder_rules(config), *lavt_decoder_rules()])


def family_table(
    config: ml_collections.ConfigDict,
    rules: Sequence[Rule],
    skips: Sequence[Skip] = (),
    **fields: Any,
) -> WeightTable:
    """Returns the table of a network with Swin, BERT and fusion at every stage.

    Args:
      config: the `model` section of a configuration.
      rules: all of its rules.
      skips: foreign names without use beside those that the whole family has.
      **fields: further ones of `WeightTable`.
    """
    return WeightTable(
        rules=rules,
        skips=[*ENCODER_SKIPS, *skips],
        optional=OPTIONAL,
        buffers=lambda: index_buffers(config, rules),
        **fields,
    )


def encoder_rules(config: ml_collections.ConfigDict) -> list[Rule]:
    """Returns the rules of the language-aware encoder and of BERT."""
    return [
        *swin_weights.swin_rules("backbone."),
        *fusion_rules(),
        *bert_weights.bert_rules(config.text.max_tokens, TEXT_PREFIX),
    ]


ENCODER_SKIPS = [*swin_weights.SWIN_SKIPS, *bert_weights.BERT_SKIPS, *DECODER_SKIPS]


def index_buffers(
    config: ml_collections.ConfigDict, rules: Sequence[Rule]
) -> dict[str, np.ndarray]:
    """Returns the integer buffers that a strict `load_state_dict` of the reference asks for.

    Args:
      config: the `model` section of a configuration.
      rules: of the model; every batch norm among them has a counter.

    Returns:
      Foreign name → int64 array.
    """
    index = relative_position_index(config.vision.window_size).astype(np.int64)
    batch_norms = [
        rule.source.removesuffix("running_mean")
        for rule in rules
        if rule.source.endswith(".running_mean")
    ]
    return {
        **{
            f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index": index
            for stage, depth in enumerate(config.vision.depths)
            for block in range(depth)
        },
        **{
            name.replace("{i}", str(stage)) + "num_batches_tracked": np.zeros((), np.int64)
            for name in batch_norms
            for stage in range(NUM_STAGES)
        },
    }
