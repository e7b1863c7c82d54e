"""Where RSRefSeg 2's weights lie in the authors' checkpoints."""

import dataclasses
from collections.abc import Sequence

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.naming import Line, rules, with_adapters
from rrsis_jax.models.backbones.sam2 import weights as sam2
from rrsis_jax.models.backbones.siglip import weights as siglip
from rrsis_jax.models.layers import adapters
from rrsis_jax.weights.mapping import Rule, Skip, WeightTable

# Our name of a step of a layer: the published ones of attention, norm, MLP and its norm.
_WORDS = {
    "self1": ("self_attn_query_query1", "norm_query1_1"),
    "self2": ("self_attn_query_query2", "norm_query2_1"),
    "text1": (
        "cross_attn_query_text_query1_text",
        "norm_query1_2",
        "mlp_query1_2",
        "norm_query1_3",
    ),
    "text2": (
        "cross_attn_query_text_query2_text",
        "norm_query2_2",
        "mlp_query2_2",
        "norm_query2_3",
    ),
    "cross1": (
        "cross_attn_query_query_query1_query2",
        "norm_query1_4",
        "mlp_query1_3",
        "norm_query1_5",
    ),
    "cross2": (
        "cross_attn_query_query_query2_query1",
        "norm_query2_4",
        "mlp_query2_3",
        "norm_query2_5",
    ),
}
_IMAGE = ("cross_attn_img_text_1", "norm_img_1", "mlp_img_1", "norm_img_2")
_FIND = {"self": ("self_attn_text_text_1", "norm_text_1"), "image": _IMAGE}
_OUTLINE = {
    "self": ("self_attn_text_1", "norm_text_1"),
    "image": _IMAGE,
    "prompts": ("self_attn_prompt_1", "norm_prompt_1"),
    "prompts_text": ("cross_attn_prompt_text_1", "norm_prompt_2", "mlp_prompt_2", "norm_prompt_3"),
    "prompts_image": ("cross_attn_prompt_img_1", "norm_prompt_4", "mlp_prompt_3", "norm_prompt_5"),
}
_STAGES = {
    "words": ("two_queries_text_attn_layers", _WORDS),
    "find": ("queries1_to_img_attn_layers", _FIND),
    "outline": ("prompt_queries2_img_attn_layers", _OUTLINE),
}


def _step(ours: str, theirs: str, names: Sequence[str]) -> list[Line]:
    attention, first_norm, *rest = (f"{theirs}.{name}" for name in names)
    lines = [
        Line("linear", f"{ours}/attn/{name}", (f"{attention}.{name}",))
        for name in ("q_proj", "k_proj", "v_proj", "out_proj")
    ]
    lines.append(Line("norm", f"{ours}/norm", (first_norm,)))
    if rest:
        mlp, second_norm = rest
        lines += [
            Line("linear", f"{ours}/mlp/fc1", (f"{mlp}.layers.0",)),
            Line("linear", f"{ours}/mlp/fc2", (f"{mlp}.layers.1",)),
            Line("norm", f"{ours}/mlp_norm", (second_norm,)),
        ]
    return lines


PROMPTER = [
    Line("array", "text_places1", ("text_query_pe_embedding1",)),
    Line("array", "text_places2", ("text_query_pe_embedding2",)),
    Line("map", "image_places", ("img_pe",)),
    Line("array", "prompts", ("prompt_embedding",)),
    Line("array", "prompt_places", ("prompt_pe_embedding",)),
    Line("linear", "sparse_mlp/fc1", ("sparse_prompt_mlp.layers.0",)),
    Line("linear", "sparse_mlp/fc2", ("sparse_prompt_mlp.layers.1",)),
    Line("conv", "dense_conv1", ("dense_prompt_conv.0",)),
    Line("batch_norm", "dense_bn", ("dense_prompt_conv.1",)),
    Line("conv", "dense_conv2", ("dense_prompt_conv.3",)),
    *(
        line
        for stage, (layers, steps) in _STAGES.items()
        for step, names in steps.items()
        for line in _step(f"{stage}_{{i}}_{step}", f"{layers}.{{i}}", names)
    ),
]
_PEFT = "base_model.model."  # what the library of the adapters puts in front of names

SKIPS = [
    Skip(r"(.*\.)?num_batches_tracked", "counter, not used"),
    Skip(r"data_preprocessor\..*", "the image is normalised by the network"),
    Skip(r"(.*\.)?position_ids", "index buffer, recomputed"),
    Skip(r"decode_head\.logit_(scale|bias)1", "never called"),
]


def _one_number(value: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str] | None:
    """A number may be published with an axis or without."""
    return (value.reshape(shape), "of one axis") if value.size == 1 else None


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of RSRefSeg 2 map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    return WeightTable(
        rules=_rules(config.lora),
        skips=SKIPS,
        inert=inert,
        buffers=lambda: {"prompter.dense_prompt_conv.1.num_batches_tracked": np.array(0, np.int64)},
        section="state_dict",
    )


def inert() -> dict[str, np.ndarray]:
    """Returns the published scalars that are never called, at their first values."""
    return {
        "decode_head.logit_scale1": np.full(1, np.log(1 / 0.07), np.float32),
        "decode_head.logit_bias1": np.full(1, np.log(0.5), np.float32),
    }


def _rules(lora: ml_collections.ConfigDict) -> list[Rule]:
    """Returns the mapping of the whole network; adapters lie apart, as published."""
    image = "backbone.model.image_encoder."
    parts = {
        "sam2": [
            dataclasses.replace(rule, source=rule.source.replace(image, f"{image}{_PEFT}"))
            for rule in sam2.network_rules(0, "params/sam2/", "backbone.model.")
        ],
        "siglip": [
            *rules(siglip.VISION, 0, "params/siglip/vision/", f"clip_vision_encoder.{_PEFT}model."),
            *rules(siglip.TEXT, 0, "params/siglip/text/", f"clip_text_encoder.{_PEFT}model."),
        ],
    }
    for name, part in parts.items():
        adapted = adapters.from_config(lora, name)
        parts[name] = part if adapted is None else with_adapters(part, adapted)
    return [
        *parts["sam2"],
        *parts["siglip"],
        *(
            Rule(f"clip_text_encoder.{_PEFT}{name}", f"params/siglip/{name}")
            for name in ("logit_scale", "logit_bias")
        ),
        *rules(PROMPTER, 0, "params/prompter/", "prompter."),
        Rule("decode_head.logit_scale2", "params/contrast_scale", resize=_one_number),
        Rule("decode_head.logit_bias2", "params/contrast_bias", resize=_one_number),
    ]
