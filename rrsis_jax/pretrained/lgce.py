"""LGCE and LAVT checkpoints in the authors' layout: import and export.

variables = import_state_dict(state_dict, config.model)
state_dict = export_state_dict(variables, config.model)
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from rrsis_jax.models.decoders import CrossScaleBlock
from rrsis_jax.models.segmenter import variable_shapes
from rrsis_jax.models.swin import relative_position_index
from rrsis_jax.pretrained import rules as tables
from rrsis_jax.pretrained.mapping import (
    MappingError,
    Report,
    Rule,
    Skip,
    export_weights,
    import_weights,
    strip_prefix,
)

TEXT_PREFIX = "text_encoder."
_ADDED = "params/decoder/cross_scale/modulate_"  # of a live guide; the reference has no such layer


def import_state_dict(
    state_dict: Mapping[str, np.ndarray], config_model: ml_collections.ConfigDict
) -> dict:
    """Carries a reference state dict into variables for `build_model(config_model)`.

    Args:
      state_dict: foreign name → array, with or without a leading "module.". BERT is looked for
        under "text_encoder."; without such names the result holds no text weights and serves
        `method="segment"`.
      config_model: the `model` section of the configuration.

    Returns:
      {"params", "batch_stats"}: nested dictionaries of float32 NumPy arrays. The layers of a live
      guide, which the reference lacks, are zeros: they change nothing until they are trained.

    Raises:
      MappingError: a ValueError that lists all differences.
    """
    variables, _ = import_with_report(state_dict, config_model)
    return variables


def import_with_report(
    state_dict: Mapping[str, np.ndarray], config_model: ml_collections.ConfigDict
) -> tuple[dict, Report]:
    """Does what `import_state_dict` does and also returns what went where."""
    state_dict = strip_prefix(state_dict, "module.")
    with_text = any(name.startswith(TEXT_PREFIX) for name in state_dict)
    expected, added = _split_added(_expected(config_model, with_text))
    try:
        flat, report = import_weights(
            state_dict, _rules(config_model), _skips(config_model), expected
        )
    except MappingError as error:
        if config_model.decoder == "lavt" and any(".msb" in name for name in state_dict):
            raise MappingError(
                f"{error}\nThe weights hold LGCE's cross-scale blocks: set "
                'model.decoder = "lgce" to load them.'
            ) from None
        raise
    flat |= {path: np.zeros(spec.shape, spec.dtype) for path, spec in added.items()}
    return traverse_util.unflatten_dict(flat, sep="/"), report


def export_state_dict(
    variables: Mapping, config_model: ml_collections.ConfigDict
) -> dict[str, np.ndarray]:
    """Carries variables into the reference's state dict.

    Names that exist in the reference and are never called (see `inert_state`) are filled, so that
    the result has all its parameters and running statistics. Its index buffers are apart, in
    `index_buffers`, since they are no weights.

    Args:
      variables: {"params", "batch_stats"} of `build_model(config_model)`, with or without text
        weights.
      config_model: the `model` section of the configuration.

    Returns:
      Foreign name → NumPy array; BERT under "text_encoder.".

    Raises:
      MappingError: a ValueError that lists all differences, or names the trained layers of a live
        guide, which the reference could not compute with.
    """
    flat = traverse_util.flatten_dict(
        {key: variables.get(key, {}) for key in ("params", "batch_stats")}, sep="/"
    )
    flat, added = _split_added(flat)
    trained = sorted(path for path, x in added.items() if np.any(x))
    if trained:
        raise MappingError(
            "The reference's model has no layers for a live guide (model.guide.live), so these "
            f"trained parameters have no place in its state dict: {', '.join(trained)}."
        )
    expected = _expected(config_model, with_text="text_encoder" in variables.get("params", {}))
    expected, _ = _split_added(expected)
    state_dict = export_weights(flat, _rules(config_model), expected)
    return {**state_dict, **inert_state(config_model)}


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
    state_dict = export_weights(empty, tables.lgce_decoder_rules(), flat)
    return {
        name.replace("classifier.msb1.msb", prefix): value.shape
        for name, value in state_dict.items()
    }


def _split_added(flat: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits path → anything into what the reference has and what our switches add."""
    added = {path: x for path, x in flat.items() if path.startswith(_ADDED)}
    return {path: x for path, x in flat.items() if path not in added}, added


def _expected(
    config_model: ml_collections.ConfigDict, with_text: bool
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns our path → shape and type of all variables, or of all but the text encoder's."""
    flat = traverse_util.flatten_dict(variable_shapes(config_model), sep="/")
    return {
        path: spec
        for path, spec in flat.items()
        if with_text or not path.startswith("params/text_encoder/")
    }


def _rules(config_model: ml_collections.ConfigDict) -> list[Rule]:
    lgce = config_model.decoder == "lgce"
    return [
        *tables.swin_rules("backbone."),
        *tables.fusion_rules(),
        *(tables.lgce_decoder_rules() if lgce else tables.lavt_decoder_rules()),
        *tables.bert_rules(config_model.text.max_tokens, TEXT_PREFIX),
    ]


def _skips(config_model: ml_collections.ConfigDict) -> list[Skip]:
    lgce = config_model.decoder == "lgce"
    return [
        *tables.SWIN_SKIPS,
        *tables.BERT_SKIPS,
        *tables.DECODER_SKIPS,
        *(tables.LGCE_SKIPS if lgce else []),
    ]
