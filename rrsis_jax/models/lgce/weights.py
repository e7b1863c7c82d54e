"""LGCE's weights: where those of a checkpoint live in our tree, what is never called."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.models.lavt import weights as lavt_weights
from rrsis_jax.models.lavt.weights import lavt_decoder_rules
from rrsis_jax.models.lgce.decoder import CrossScaleBlock
from rrsis_jax.weights.mapping import Rule, Skip, WeightTable, export_weights, linear, norm

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


_FRESH = ("params/decoder/cross_scale/modulate_",)  # of a live guide


def table(config: ml_collections.ConfigDict) -> WeightTable:
    """Returns how the published weights of LGCE map onto our variables.

    Args:
      config: the `model` section of a configuration.
    """
    return lavt_weights.family_table(
        config,
        [*lavt_weights.encoder_rules(config), *lgce_decoder_rules()],
        LGCE_SKIPS,
        fresh=_FRESH,
        inert=lambda: inert_state(config),
    )


def inert_state(config: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
    """Returns what the reference's state dict holds and its forward pass never calls.

    LGCE keeps two more cross-scale blocks with their guide layers, and patch embeddings inside all
    three blocks. A trained checkpoint holds their initial values; an export holds zeros, and ones
    for the scales of norms.

    Args:
      config: the `model` section of a configuration.

    Returns:
      Foreign name → float32 array.
    """
    width = config.vision.embed_dim
    text_width = config.text.hidden_size
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


def _cross_scale_shapes(prefix: str, fine: int) -> dict[str, tuple[int, ...]]:
    """Returns the foreign names and shapes of a cross-scale block whose finer width is `fine`."""
    tokens = [jax.ShapeDtypeStruct((1, 2, width), jnp.float32) for width in (fine, 2 * fine)]
    block = CrossScaleBlock(num_heads=(1, 1))  # no shape depends on the heads
    params = jax.eval_shape(block.init, jax.random.key(0), *tokens)["params"]
    flat = flax.traverse_util.flatten_dict(
        {"params": {"decoder": {"cross_scale": params}}}, sep="/"
    )
    empty = {path: np.broadcast_to(np.float32(0), spec.shape) for path, spec in flat.items()}
    state_dict = export_weights(empty, lgce_decoder_rules(), flat)
    return {
        name.replace("classifier.msb1.msb", prefix): value.shape
        for name, value in state_dict.items()
    }
