"""Where RSRefSeg's weights lie in the authors' layout; SAM has Hugging Face's names inside."""

from rrsis_jax.models.backbones.naming import Line, rules, with_adapters
from rrsis_jax.models.backbones.sam import weights as sam
from rrsis_jax.models.backbones.siglip import weights as siglip
from rrsis_jax.models.layers.adapters import Lora
from rrsis_jax.weights.mapping import Rule, Skip

# The layers that the published networks adapt. The adapter of the image head sees no gradient.
ADAPTED = {
    "sam": r"attn/(qkv|proj)|mlp/fc[12]|neck_conv[12]",
    "siglip": r"self_attn/(q|k|v|out)_proj|head/attention/out_proj|text/head",
}
_PEFT = "base_model.model."  # what the library of the adapters puts in front of names

PROMPTER = [
    Line("conv_without_bias", "channel_conv", ("channel.conv",)),
    Line("batch_norm", "channel_bn", ("channel.bn",)),
    Line("conv_without_bias", "spatial_conv{i}", ("spatial.{i}.conv",)),
    Line("batch_norm", "spatial_bn{i}", ("spatial.{i}.bn",)),
]

SKIPS = [
    Skip(r"(.*\.)?num_batches_tracked", "counter, not used"),
    Skip(r"data_preprocessor\..*", "the image is normalised by the network"),
    Skip(r"(.*\.)?position_ids", "index buffer, recomputed"),
    Skip(
        r"sam_prompt_encoder\.model\.shared_embedding\.positional_embedding",
        "a second matrix of positions, which no prompt of this network uses",
    ),
]


def table(halvings: int = 2, adapters: bool = True) -> list[Rule]:
    """Returns the mapping of the whole network.

    Args:
      halvings: of the prompter.
      adapters: whether they lie apart, as published; otherwise they are merged.
    """
    parts = {
        "sam": rules(sam.IMAGE_ENCODER, 1, "params/sam/image_encoder/", f"backbone.{_PEFT}model."),
        "siglip": [
            *rules(siglip.VISION, 0, "params/siglip/vision/", f"clip_vision_encoder.{_PEFT}model."),
            *rules(siglip.TEXT, 0, "params/siglip/text/", f"clip_text_encoder.{_PEFT}model."),
        ],
    }
    if adapters:
        parts = {
            name: with_adapters(part, Lora(1, 1, layers=ADAPTED[name]))
            for name, part in parts.items()
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
