"""Where SAM 2's weights lie in the authors' checkpoints and in Hugging Face's."""

from collections.abc import Mapping

import numpy as np

from rrsis_jax.models.backbones.naming import Layout, Line, rules
from rrsis_jax.models.backbones.sam.weights import PROMPT_ENCODER, mask_decoder, relu_mlp
from rrsis_jax.weights.mapping import Rule, Skip

_BLOCK, _OURS = "blocks.{i}", "blocks_{i}"
# In all tables the first foreign name is Meta's, the second Hugging Face's.
TRUNK = [
    Line("map", "pos_embed", ("pos_embed",) * 2),
    Line("map", "pos_embed_window", ("pos_embed_window",) * 2),
    Line("conv", "patch_embed", ("patch_embed.proj", "patch_embed.projection")),
    Line("norm", f"{_OURS}/norm1", (f"{_BLOCK}.norm1", f"{_BLOCK}.layer_norm1")),
    Line("norm", f"{_OURS}/norm2", (f"{_BLOCK}.norm2", f"{_BLOCK}.layer_norm2")),
    Line("linear", f"{_OURS}/proj", (f"{_BLOCK}.proj",) * 2),
    Line("linear", f"{_OURS}/attn/qkv", (f"{_BLOCK}.attn.qkv",) * 2),
    Line("linear", f"{_OURS}/attn/proj", (f"{_BLOCK}.attn.proj",) * 2),
    Line("linear", f"{_OURS}/mlp/fc1", (f"{_BLOCK}.mlp.layers.0", f"{_BLOCK}.mlp.proj_in")),
    Line("linear", f"{_OURS}/mlp/fc2", (f"{_BLOCK}.mlp.layers.1", f"{_BLOCK}.mlp.proj_out")),
]
NECK = [Line("conv", "convs_{i}", ("convs.{i}.conv", "convs.{i}"))]
MASK_DECODER = [
    *mask_decoder({"fc1": ("layers.0", "proj_in"), "fc2": ("layers.1", "proj_out")}, "o_proj"),
    Line("array", "object_token", ("obj_score_token.weight",) * 2),
    *relu_mlp("object_head", "pred_obj_score_head"),
]
# These are called with the image, so they lie beside the decoder in our tree.
HIGH_RESOLUTION = [Line("conv", name, (name,) * 2) for name in ("conv_s0", "conv_s1")]

_LABELS = [f"prompt_encoder.point_embed.{label}.weight" for label in range(4)]
_ALL_LABELS = "prompt_encoder.point_embed.weight"


def network_rules(column: int, ours: str = "params/", theirs: str = "") -> list[Rule]:
    """Returns the mapping of the whole network.

    Args:
      column: 0 for Meta's names, 1 for Hugging Face's.
      ours: what precedes our paths.
      theirs: what precedes the foreign names.
    """
    image = ("image_encoder.", "vision_encoder.")[column]
    trunk = ("trunk.", "backbone.")[column]
    heads = theirs + ("sam_", "")[column]
    matrix = (
        f"{heads}prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        f"{theirs}shared_image_embedding.positional_embedding",
    )[column]
    return [
        Rule(theirs + ("no_mem_embed", "no_memory_embedding")[column], f"{ours}no_memory"),
        Rule(matrix, f"{ours}positions/matrix"),
        *rules(TRUNK, column, f"{ours}trunk/", f"{theirs}{image}{trunk}"),
        *rules(NECK, column, f"{ours}neck/", f"{theirs}{image}neck."),
        *rules(PROMPT_ENCODER, column, f"{ours}prompt_encoder/", f"{heads}prompt_encoder."),
        *rules(MASK_DECODER, column, f"{ours}mask_decoder/", f"{heads}mask_decoder."),
        *rules(HIGH_RESOLUTION, column, ours, f"{heads}mask_decoder."),
    ]


_MEMORY = "only video has a memory"


def split_labels(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cuts Hugging Face's one table of point labels into four, as all other layouts have it."""
    table = state_dict.get(_ALL_LABELS)
    if table is None or len(table) != len(_LABELS):
        return dict(state_dict)
    others = {name: array for name, array in state_dict.items() if name != _ALL_LABELS}
    return others | {name: table[i : i + 1] for i, name in enumerate(_LABELS)}


def join_labels(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undoes `split_labels`."""
    state_dict = dict(state_dict)
    return {
        _ALL_LABELS: np.concatenate([state_dict.pop(name) for name in _LABELS]),
        **state_dict,
    }


LAYOUTS = (
    Layout(
        "meta",
        sign="image_encoder.trunk.patch_embed.proj.weight",
        rules=network_rules(0),
        skips=[
            Skip(
                r"(memory_attention|memory_encoder|obj_ptr_proj|obj_ptr_tpos_proj|mask_downsample)"
                r"\..*|maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial",
                _MEMORY,
            ),
        ],
    ),
    Layout(
        "huggingface",
        sign="vision_encoder.backbone.patch_embed.projection.weight",
        rules=network_rules(1),
        skips=[
            Skip(
                r"prompt_encoder\.shared_embedding\.positional_embedding",
                "copy of the image's position matrix",
            ),
            Skip(
                r"(memory_attention|memory_encoder|object_pointer_proj|mask_downsample"
                r"|temporal_positional_encoding_projection_layer)\..*"
                r"|memory_temporal_positional_encoding|no_memory_positional_encoding"
                r"|no_object_pointer|occlusion_spatial_embedding_parameter",
                _MEMORY,
            ),
        ],
        prepare=split_labels,
        restore=join_labels,
    ),
)
