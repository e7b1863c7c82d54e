"""Where SAM's weights lie in the authors' checkpoints and in Hugging Face's."""

from collections.abc import Mapping

from rrsis_jax.models.backbones.naming import Layout, Line, rules
from rrsis_jax.weights.mapping import Rule, Skip

# In all tables the first foreign name is Meta's, the second Hugging Face's.
IMAGE_ENCODER = [
    Line("array", "pos_embed", ("pos_embed",) * 2),
    Line("conv", "patch_embed", ("patch_embed.proj", "patch_embed.projection")),
    Line("norm", "layers_{i}/norm1", ("blocks.{i}.norm1", "layers.{i}.layer_norm1")),
    Line("norm", "layers_{i}/norm2", ("blocks.{i}.norm2", "layers.{i}.layer_norm2")),
    Line("linear", "layers_{i}/attn/qkv", ("blocks.{i}.attn.qkv", "layers.{i}.attn.qkv")),
    Line("linear", "layers_{i}/attn/proj", ("blocks.{i}.attn.proj", "layers.{i}.attn.proj")),
    *(
        Line(
            "array",
            f"layers_{{i}}/attn/{name}",
            (f"blocks.{{i}}.attn.{name}", f"layers.{{i}}.attn.{name}"),
        )
        for name in ("rel_pos_h", "rel_pos_w")
    ),
    Line("linear", "layers_{i}/mlp/fc1", ("blocks.{i}.mlp.lin1", "layers.{i}.mlp.lin1")),
    Line("linear", "layers_{i}/mlp/fc2", ("blocks.{i}.mlp.lin2", "layers.{i}.mlp.lin2")),
    Line("conv_without_bias", "neck_conv1", ("neck.0", "neck.conv1")),
    Line("norm", "neck_norm1", ("neck.1", "neck.layer_norm1")),
    Line("conv_without_bias", "neck_conv2", ("neck.2", "neck.conv2")),
    Line("norm", "neck_norm2", ("neck.3", "neck.layer_norm2")),
]

PROMPT_ENCODER = [
    Line("array", "not_a_point", ("not_a_point_embed.weight",) * 2),
    Line("array", "no_mask", ("no_mask_embed.weight",) * 2),
    Line("array", "label_{i}", ("point_embeddings.{i}.weight", "point_embed.{i}.weight")),
    Line("conv", "mask_conv1", ("mask_downscaling.0", "mask_embed.conv1")),
    Line("norm", "mask_norm1", ("mask_downscaling.1", "mask_embed.layer_norm1")),
    Line("conv", "mask_conv2", ("mask_downscaling.3", "mask_embed.conv2")),
    Line("norm", "mask_norm2", ("mask_downscaling.4", "mask_embed.layer_norm2")),
    Line("conv", "mask_conv3", ("mask_downscaling.6", "mask_embed.conv3")),
]


def mask_decoder(mlp: Mapping[str, tuple[str, str]], out_proj: str) -> list[Line]:
    """Returns the table of the mask decoder.

    Args:
      mlp: the foreign names of the two-way layers' feed-forward, ours → (Meta, Hugging Face).
      out_proj: Hugging Face's name of an attention's output projection.
    """
    lines = [
        Line("array", "iou_token", ("iou_token.weight",) * 2),
        Line("array", "mask_tokens", ("mask_tokens.weight",) * 2),
        Line("transposed", "upscale1", ("output_upscaling.0", "upscale_conv1")),
        Line("norm", "upscale_norm", ("output_upscaling.1", "upscale_layer_norm")),
        Line("transposed", "upscale2", ("output_upscaling.3", "upscale_conv2")),
        Line(
            "norm",
            "final_norm",
            ("transformer.norm_final_attn", "transformer.layer_norm_final_attn"),
        ),
        *relu_mlp("hypernetworks_{i}", "output_hypernetworks_mlps.{i}"),
        *relu_mlp("iou_head", "iou_prediction_head"),
    ]
    attentions = {
        "layers_{i}/self_attn": "transformer.layers.{i}.self_attn",
        "layers_{i}/token_to_image": "transformer.layers.{i}.cross_attn_token_to_image",
        "layers_{i}/image_to_token": "transformer.layers.{i}.cross_attn_image_to_token",
        "final_attn": "transformer.final_attn_token_to_image",
    }
    for ours, theirs in attentions.items():
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            other = out_proj if name == "out_proj" else name
            names = (f"{theirs}.{name}", f"{theirs}.{other}")
            lines.append(Line("linear", f"{ours}/{name}", names))
    layer = "transformer.layers.{i}"
    for number in range(1, 5):
        names = (f"{layer}.norm{number}", f"{layer}.layer_norm{number}")
        lines.append(Line("norm", f"layers_{{i}}/norm{number}", names))
    for ours, names in mlp.items():
        names = tuple(f"{layer}.mlp.{name}" for name in names)
        lines.append(Line("linear", f"layers_{{i}}/mlp/{ours}", names))
    return lines


def relu_mlp(ours: str, theirs: str) -> list[Line]:
    """Returns the table of a three-layer MLP."""
    names = {
        "fc1": ("layers.0", "proj_in"),
        "fc2": ("layers.1", "layers.0"),
        "fc3": ("layers.2", "proj_out"),
    }
    return [
        Line("linear", f"{ours}/{own}", tuple(f"{theirs}.{name}" for name in pair))
        for own, pair in names.items()
    ]


MASK_DECODER = mask_decoder({"fc1": ("lin1", "lin1"), "fc2": ("lin2", "lin2")}, "out_proj")

POSITIONS = [
    Line(
        "array",
        "matrix",
        (
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
            "shared_image_embedding.positional_embedding",
        ),
    )
]


def _rules(column: int) -> list[Rule]:
    return [
        *rules(POSITIONS, column, "params/positions/", ""),
        *rules(
            IMAGE_ENCODER,
            column,
            "params/image_encoder/",
            ("image_encoder.", "vision_encoder.")[column],
        ),
        *rules(PROMPT_ENCODER, column, "params/prompt_encoder/", "prompt_encoder."),
        *rules(MASK_DECODER, column, "params/mask_decoder/", "mask_decoder."),
    ]


LAYOUTS = (
    Layout(
        "meta",
        sign="image_encoder.patch_embed.proj.weight",
        rules=_rules(0),
        skips=[Skip(r"pixel_(mean|std)", "the image comes normalised")],
    ),
    Layout(
        "huggingface",
        sign="vision_encoder.patch_embed.projection.weight",
        rules=_rules(1),
        skips=[
            Skip(
                r"prompt_encoder\.shared_embedding\.positional_embedding",
                "copy of the image's position matrix",
            )
        ],
    ),
)
