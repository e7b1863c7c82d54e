"""Where RS2-SAM2's weights lie in the authors' checkpoints.

The weights on the hub have the names of this table; checkpoints of the published training have
"module.evf_model." before each.
"""

import ml_collections
import numpy as np

from rrsis_jax.models.backbones.beit3 import weights as beit3
from rrsis_jax.models.backbones.naming import Line, rules
from rrsis_jax.models.backbones.sam2 import weights as sam2
from rrsis_jax.weights.mapping import Rule, Skip, WeightTable


def _packed(ours: str, theirs: str) -> list[Line]:
    """Returns the table of an attention whose three input projections are one parameter."""
    theirs = f"{theirs}.multihead_attn"
    return [
        Line("matrix", f"{ours}/in_kernel", (f"{theirs}.in_proj_weight",)),
        Line("array", f"{ours}/in_bias", (f"{theirs}.in_proj_bias",)),
        Line("linear", f"{ours}/out_proj", (f"{theirs}.out_proj",)),
    ]


_OURS, _SPACE = "blocks_{i}/space_adapter", "blocks.{i}.Space_Adapter"
ADAPTERS = [
    Line("linear", f"{_OURS}/fc1", (f"{_SPACE}.D_fc1",)),
    Line("linear", f"{_OURS}/fc2", (f"{_SPACE}.D_fc2",)),
    Line("linear", f"{_OURS}/text_in", (f"{_SPACE}.text_in_linear",)),
    Line("linear", f"{_OURS}/text_out", (f"{_SPACE}.text_out_linear",)),
    *_packed(f"{_OURS}/map_reads", f"{_SPACE}.vlfusion_module"),
    *_packed(f"{_OURS}/text_reads", f"{_SPACE}.lvfusion_module"),
    Line("linear", "blocks_{i}/mlp_adapter/fc1", ("blocks.{i}.MLP_Adapter.D_fc1",)),
    Line("linear", "blocks_{i}/mlp_adapter/fc2", ("blocks.{i}.MLP_Adapter.D_fc2",)),
]
BETWEEN = [
    *_packed("mask_token", "vmtoken"),
    *_packed("word_attention", "visual_model.sam_mask_decoder.vlfusion_module"),
    Line("linear", "mask_linear", ("mask_linear",)),
    Line("linear", "mask_product", ("mask_product",)),
    Line("linear", "sentence_fc1", ("text_hidden_fcs.0.0",)),
    Line("linear", "sentence_fc2", ("text_hidden_fcs.0.2",)),
    Line("linear", "text_features", ("text_feat_linear",)),
    Line("linear", "sentence_weight", ("text2one_linear",)),
]

SKIPS = [
    *beit3.SKIPS,
    Skip(r"meo_linear\..*", "this layer is never called"),
    Skip(
        r"visual_model\.((memory_attention|memory_encoder|obj_ptr_proj|mask_downsample)\..*"
        r"|maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr)",
        "only video has a memory",
    ),
]


def weight_table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of RS2-SAM2 map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    wide, narrow = config.beit3.width, config.sam2.features

    def inert() -> dict[str, np.ndarray]:
        shapes = {
            "meo_linear.weight": (narrow, wide),
            "meo_linear.bias": (narrow,),
            "mm_extractor.beit3.vision_embed.mask_token": (1, 1, wide),
        }
        return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    return WeightTable(rules=table(), skips=SKIPS, inert=inert, prefix="evf_model.")


def table() -> list[Rule]:
    """Returns the mapping of the whole network."""
    return [
        *rules(beit3.NETWORK, 0, "params/beit3/", "mm_extractor.beit3."),
        *sam2.network_rules(0, "params/sam2/", "visual_model."),
        *rules(ADAPTERS, 0, "params/sam2/trunk/", "visual_model.image_encoder.trunk."),
        *rules(BETWEEN, 0, "params/", ""),
    ]
