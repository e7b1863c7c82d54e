"""Where SigLIP's weights lie in Hugging Face's checkpoints, which are the published ones."""

from rrsis_jax.models.backbones.naming import Layout, Line, rules
from rrsis_jax.weights.mapping import Rule, Skip


def _encoder() -> list[Line]:
    ours, theirs = "layers_{i}", "encoder.layers.{i}"
    attention = [f"self_attn/{name}_proj" for name in ("q", "k", "v", "out")]
    return [
        Line("norm", f"{ours}/norm1", (f"{theirs}.layer_norm1",)),
        Line("norm", f"{ours}/norm2", (f"{theirs}.layer_norm2",)),
        *(
            Line("linear", f"{ours}/{name}", (f"{theirs}.{name.replace('/', '.')}",))
            for name in (*attention, "mlp/fc1", "mlp/fc2")
        ),
    ]


VISION = [
    Line("conv", "patch_embed", ("embeddings.patch_embedding",)),
    Line("array", "pos_embed", ("embeddings.position_embedding.weight",)),
    *_encoder(),
    Line("norm", "post_norm", ("post_layernorm",)),
    Line("array", "head/probe", ("head.probe",)),
    Line("matrix", "head/attention/in_kernel", ("head.attention.in_proj_weight",)),
    Line("array", "head/attention/in_bias", ("head.attention.in_proj_bias",)),
    Line("linear", "head/attention/out_proj", ("head.attention.out_proj",)),
    Line("norm", "head/norm", ("head.layernorm",)),
    Line("linear", "head/mlp/fc1", ("head.mlp.fc1",)),
    Line("linear", "head/mlp/fc2", ("head.mlp.fc2",)),
]
TEXT = [
    Line("array", "token_embed", ("embeddings.token_embedding.weight",)),
    Line("array", "pos_embed", ("embeddings.position_embedding.weight",)),
    *_encoder(),
    Line("norm", "final_norm", ("final_layer_norm",)),
    Line("linear", "head", ("head",)),
]
SKIPS = [Skip(r"(.*\.)?position_ids", "index buffer, recomputed")]

LAYOUTS = (
    Layout(
        "huggingface",
        sign="vision_model.embeddings.patch_embedding.weight",
        rules=[
            *rules(VISION, 0, "params/vision/", "vision_model."),
            *rules(TEXT, 0, "params/text/", "text_model."),
            Rule("logit_scale", "params/logit_scale"),
            Rule("logit_bias", "params/logit_bias"),
        ],
        skips=SKIPS,
    ),
)
