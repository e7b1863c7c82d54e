"""Where BEiT-3's weights lie in the authors' checkpoints."""

from rrsis_jax.models.backbones.naming import Layout, Line, rules
from rrsis_jax.weights.mapping import Skip


def _experts(kind: str, ours: str, theirs: str) -> list[Line]:
    """Returns the table of a pair of layers; {} in `theirs` is the letter of one of them."""
    return [
        Line(kind, ours.format(name), (theirs.format(letter),))
        for name, letter in (("image", "A"), ("text", "B"))
    ]


def _layers() -> list[Line]:
    ours, theirs = "layers_{{i}}", "encoder.layers.{{i}}"
    projections = [
        line
        for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        for line in _experts("linear", f"{ours}/{name}/{{}}", f"{theirs}.self_attn.{name}.{{}}")
    ]
    return [
        *projections,
        *_experts("norm", f"{ours}/attn_norm/{{}}", f"{theirs}.self_attn_layer_norm.{{}}"),
        *_experts("norm", f"{ours}/attn_inner_norm/{{}}", f"{theirs}.self_attn.inner_attn_ln.{{}}"),
        *_experts("norm", f"{ours}/mlp_norm/{{}}", f"{theirs}.final_layer_norm.{{}}"),
        *_experts("linear", f"{ours}/mlp/{{}}/fc1", f"{theirs}.ffn.{{}}.fc1"),
        *_experts("linear", f"{ours}/mlp/{{}}/fc2", f"{theirs}.ffn.{{}}.fc2"),
        *_experts("norm", f"{ours}/mlp/{{}}/norm", f"{theirs}.ffn.{{}}.ffn_layernorm"),
    ]


NETWORK = [
    Line("conv", "patch_embed", ("vision_embed.proj",)),
    Line("array", "cls_token", ("vision_embed.cls_token",)),
    Line("array", "token_embed", ("text_embed.weight",)),
    Line("array", "image_position_table", ("encoder.embed_positions.A.weight",)),
    Line("array", "text_position_table", ("encoder.embed_positions.B.weight",)),
    *_layers(),
    *_experts("norm", "norm/{}", "encoder.layer_norm.{}"),
]
SKIPS = [
    Skip(r"(.*\.)?vision_embed\.mask_token", "stands for masked patches in pretraining only"),
]

LAYOUTS = (
    Layout(
        "authors",
        sign="beit3.vision_embed.proj.weight",
        rules=rules(NETWORK, 0, "params/", "beit3."),
        skips=SKIPS,
    ),
)
