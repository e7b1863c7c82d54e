"""LGCE's weights: where those of a checkpoint live in our tree, what is never called."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.swin import weights as swin_weights
from rrsis_jax.models.backbones.swin.network import relative_position_index
from rrsis_jax.models.lavt import weights as lavt_weights
from rrsis_jax.models.lavt.weights import lavt_decoder_rules
from rrsis_jax.models.lgce.decoder import CrossScaleBlock
from rrsis_jax.weights.mapping import Rule, Skip, export_weights, linear, norm

LGCE_SKIPS = [
    Skip(r"classifier\.msb[23]\..*", "this block is never called"),
    Skip(r"classifier\.lg_layer[12]\..*", "this guide layer is never called"),
    Skip(r"classifier\.msb1\.patch_embed\..*", "this patch embedding is never called"),
]


def lgce_decoder_rules() -> list[Rule]:
    """Returns the rules of LGCE's decoder: guides, cross-scale block, LAVT's decoder."""
    theirs, ours = "classifier.msb1.msb", "params/decoder/cross_scale"
    rules = [
        *linear("classifier.lg_layer3", "params/decoder/guide_c3"),
        *linear("classifier.lg_layer4", "params/decoder/guide_c4"),
        *lavt_decoder_rules("decoder/lavt"),
    ]
    for scale, name in enumerate(("fine", "coarse")):
        foreign, own = f"{theirs}.blocks.{scale}." + "{i}", f"{ours}/{name}_blocks_" + "{i}"
        rules += [
            *norm(f"{foreign}.norm1", f"{own}/norm1"),
            *linear(f"{foreign}.attn.qkv", f"{own}/attn/qkv", bias=False),
            *linear(f"{foreign}.attn.proj", f"{own}/attn/proj"),
            *norm(f"{foreign}.norm2", f"{own}/norm2"),
            *linear(f"{foreign}.mlp.fc1", f"{own}/mlp/fc1"),
            *linear(f"{foreign}.mlp.fc2", f"{own}/mlp/fc2"),
        ]
    for scale, name in enumerate(("fine_to_coarse", "coarse_to_fine")):
        own, fusion = f"{ours}/{name}", f"{theirs}.fusion.{scale}.0"
        rules += [
            *norm(f"{theirs}.projs.{scale}.0", f"{own}/go/norm"),
            *linear(f"{theirs}.projs.{scale}.2", f"{own}/go/linear"),
            *norm(f"{fusion}.norm1", f"{own}/norm"),
            *linear(f"{fusion}.attn.wq", f"{own}/attn/query", bias=False),
            *linear(f"{fusion}.attn.wk", f"{own}/attn/key", bias=False),
            *linear(f"{fusion}.attn.wv", f"{own}/attn/value", bias=False),
            *linear(f"{fusion}.attn.proj", f"{own}/attn/proj"),
            *norm(f"{theirs}.revert_projs.{scale}.0", f"{own}/back/norm"),
            *linear(f"{theirs}.revert_projs.{scale}.2", f"{own}/back/linear"),
        ]
    return rules


TEXT_PREFIX = "text_encoder."
_ADDED = "params/decoder/cross_scale/modulate_"  # of a live guide; the reference has no such layer


def inert_state(config_model: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """Returns what the reference's state dict holds and its forward pass never calls.

    LGCE keeps two more cross-scale blocks with their guide layers, and patch embeddings inside all
    three blocks. A trained checkpoint holds their initial values; an export holds zeros, and ones
    for the scales of norms.

    Args:
      config_model: the `model` section of the configuration.

    Returns:
      Foreign name → float32 array; empty for LAVT.
    """
    if config_model.decoder != "lgce":
        return {}
    width = config_model.vision.embed_dim
    text_width = config_model.text.hidden_size
    shapes = {}
    for block, fine in (("msb1", 4 * width), ("msb2", 2 * width), ("msb3", width)):
        for index, (channels, patch) in enumerate(((fine, 8), (2 * fine, 16))):
            name = f"classifier.{block}.patch_embed.{index}.proj"
            shapes[f"{name}.weight"] = (channels, 3, patch, patch)
            shapes[f"{name}.bias"] = (channels,)
        if block != "msb1":
            shapes |= _cross_scale_shapes(f"classifier.{block}.msb", fine)
    for layer, channels in (("lg_layer1", width), ("lg_layer2", 2 * width)):
        shapes[f"classifier.{layer}.weight"] = (channels, text_width)
        shapes[f"classifier.{layer}.bias"] = (channels,)
    return {
        name: np.full(shape, len(shape) == 1 and name.endswith("weight"), np.float32)
        for name, shape in shapes.items()
    }


def index_buffers(
    config_model: ml_collections.ConfigDict, with_text: bool
) -> dict[str, np.ndarray]:
    """Returns the integer buffers that a strict `load_state_dict` of the reference asks for.

    Args:
      config_model: the `model` section of the configuration.
      with_text: whether to include BERT's.

    Returns:
      Foreign name → int64 array.
    """
    index = relative_position_index(config_model.vision.window_size).astype(np.int64)
    buffers = {
        f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index": index
        for stage, depth in enumerate(config_model.vision.depths)
        for block in range(depth)
    }
    for coarse in (4, 3, 2):
        for block in (1, 2):
            buffers[f"classifier.bn{block}_{coarse}.num_batches_tracked"] = np.zeros((), np.int64)
    if with_text:
        rows = config_model.text.max_position_embeddings
        buffers[f"{TEXT_PREFIX}embeddings.position_ids"] = np.arange(rows, dtype=np.int64)[None]
    return buffers


def _cross_scale_shapes(prefix: str, fine: int) -> dict[str, tuple[int, ...]]:
    """Returns the foreign names and shapes of a cross-scale block whose finer width is `fine`."""
    tokens = [jax.ShapeDtypeStruct((1, 2, width), jnp.float32) for width in (fine, 2 * fine)]
    block = CrossScaleBlock(num_heads=(1, 1))  # no shape depends on the heads
    params = jax.eval_shape(block.init, jax.random.key(0), *tokens)["params"]
    flat = traverse_util.flatten_dict({"params": {"decoder": {"cross_scale": params}}}, sep="/")
    empty = {path: np.broadcast_to(np.float32(0), spec.shape) for path, spec in flat.items()}
    state_dict = export_weights(empty, lgce_decoder_rules(), flat)
    return {
        name.replace("classifier.msb1.msb", prefix): value.shape
        for name, value in state_dict.items()
    }


def rules(config_model: ml_collections.ConfigDict) -> list[Rule]:
    """Returns the rules of a whole checkpoint."""
    lgce = config_model.decoder == "lgce"
    return [
        *swin_weights.swin_rules("backbone."),
        *lavt_weights.fusion_rules(),
        *(lgce_decoder_rules() if lgce else lavt_weights.lavt_decoder_rules()),
        *bert_weights.bert_rules(config_model.text.max_tokens, TEXT_PREFIX),
    ]


def skips(config_model: ml_collections.ConfigDict) -> list[Skip]:
    """Returns the names of a checkpoint that are not used."""
    lgce = config_model.decoder == "lgce"
    return [
        *swin_weights.SWIN_SKIPS,
        *bert_weights.BERT_SKIPS,
        *lavt_weights.DECODER_SKIPS,
        *(LGCE_SKIPS if lgce else []),
    ]
