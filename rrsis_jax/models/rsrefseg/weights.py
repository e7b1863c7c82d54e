"""Where RSRefSeg's weights lie in the authors' layout; SAM has Hugging Face's names inside."""

import re
from collections.abc import Mapping

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.naming import Line, rules, with_adapters
from rrsis_jax.models.backbones.sam import weights as sam
from rrsis_jax.models.backbones.siglip import weights as siglip
from rrsis_jax.models.layers.adapters import Lora
from rrsis_jax.models.rsrefseg.config import ADAPTED
from rrsis_jax.weights.mapping import Rule, Skip, WeightTable

_PEFT = "base_model.model."  # what the library of the adapters puts in front of names

PROMPTER = [
    Line("conv_without_bias", "channel_conv", ("channel.conv",)),
    Line("batch_norm", "channel_bn", ("channel.bn",)),
    Line("conv_without_bias", "spatial_conv{i}", ("spatial.{i}.conv",)),
    Line("batch_norm", "spatial_bn{i}", ("spatial.{i}.bn",)),
]

# A second matrix of positions, which no prompt of this network uses.
UNUSED_POSITIONS = "sam_prompt_encoder.model.shared_embedding.positional_embedding"

SKIPS = [
    Skip(r"(.*\.)?num_batches_tracked", "counter, not used"),
    Skip(r"data_preprocessor\..*", "the image is normalised by the network"),
    Skip(r"(.*\.)?position_ids", "index buffer, recomputed"),
    Skip(re.escape(UNUSED_POSITIONS), "a second matrix of positions, which nothing uses"),
]


def weight_table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how published weights and the variables belong together.

    Args:
      config: the `model` section of a configuration.
    """
    rules = table(config.prompter.halvings, config.lora.layers if config.lora.rank else {})
    norms = [rule.source for rule in rules if rule.source.endswith(".running_mean")]
    counters = [
        name.format(i=index).replace("running_mean", "num_batches_tracked")
        for name in norms
        for index in range(config.prompter.halvings if "{i}" in name else 1)
    ]
    return WeightTable(
        rules=rules,
        skips=SKIPS,
        inert=lambda: {UNUSED_POSITIONS: np.zeros((2, config.sam.features // 2), np.float32)},
        buffers=lambda: {name: np.zeros((), np.int64) for name in counters},
        section="state_dict",
    )


def table(halvings: int = 2, adapted: Mapping[str, str] = ADAPTED) -> list[Rule]:
    """Returns the mapping of the whole network.

    Args:
      halvings: of the prompter.
      adapted: part → pattern of the layers that have adapters; none where they are merged.
    """
    parts = {
        "sam": rules(sam.IMAGE_ENCODER, 1, "params/sam/image_encoder/", f"backbone.{_PEFT}model."),
        "siglip": [
            *rules(siglip.VISION, 0, "params/siglip/vision/", f"clip_vision_encoder.{_PEFT}model."),
            *rules(siglip.TEXT, 0, "params/siglip/text/", f"clip_text_encoder.{_PEFT}model."),
        ],
    }
    parts |= {
        name: with_adapters(parts[name], Lora(1, 1, layers=layers))
        for name, layers in adapted.items()
    }
    last = [Line("conv", "out_conv", (f"spatial.{halvings}.conv",))]
    return [
        *parts["sam"],
        *parts["siglip"],
        *(
            Rule(f"clip_text_encoder.{_PEFT}{name}", f"params/siglip/{name}")
            for name in ("logit_scale", "logit_bias")
        ),
        Rule(
            f"backbone.{_PEFT}shared_image_embedding.positional_embedding",
            "params/sam/positions/matrix",
        ),
        *rules(sam.PROMPT_ENCODER, 1, "params/sam/prompt_encoder/", "sam_prompt_encoder.model."),
        *rules(sam.MASK_DECODER, 1, "params/sam/mask_decoder/", "sam_mask_decoder.model."),
        *rules([*PROMPTER, *last], 0, "params/prompter/", "prompter_down_"),
    ]
