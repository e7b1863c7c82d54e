"""Checkpoints in the authors' layout: import and export.

variables = import_state_dict(state_dict, config.model)
state_dict = export_state_dict(variables, config.model)
"""

from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import traverse_util

from rrsis_jax.models.lgce import weights as lgce_weights
from rrsis_jax.models.lgce.weights import _ADDED, TEXT_PREFIX, inert_state, rules, skips
from rrsis_jax.models.registry import variable_shapes
from rrsis_jax.weights import state_dicts, variable_folder
from rrsis_jax.weights.mapping import (
    MappingError,
    Report,
    Row,
    export_weights,
    import_weights,
    strip_prefix,
)


def import_checkpoint(source: str, config_model: ml_collections.ConfigDict, folder: str) -> Report:
    """Reads a checkpoint file, writes a folder of variables, returns what went where."""
    variables, report = import_with_report(state_dicts.read_state_dict(source), config_model)
    variable_folder.save(folder, variables)
    return report


def export_variables(folder: str, config_model: ml_collections.ConfigDict, path: str) -> Report:
    """Reads a folder of variables, writes a checkpoint file, returns what it holds."""
    variables = variable_folder.load(folder)
    state_dict = export_state_dict(variables, config_model)
    buffers = lgce_weights.index_buffers(config_model, "text_encoder" in variables["params"])
    state_dicts.write_state_dict(path, {**state_dict, **buffers})
    inert = lgce_weights.inert_state(config_model)
    rows = [
        Row("-" if name in inert else "variables", name, "never called" if name in inert else "")
        for name in state_dict
    ]
    return Report([*rows, *(Row("-", name, "index buffer") for name in buffers)])


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
            state_dict, rules(config_model), skips(config_model), expected
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
    state_dict = export_weights(flat, rules(config_model), expected)
    return {**state_dict, **inert_state(config_model)}


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
