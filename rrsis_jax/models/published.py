"""Published weights of a model: read into its variables, written back in their layout."""

import pathlib
from collections.abc import Mapping, Sequence

import flax.traverse_util
import numpy as np

from rrsis_jax import errors
from rrsis_jax.models import registry
from rrsis_jax.models.contract import Model
from rrsis_jax.types import Array, Variables
from rrsis_jax.weights import conversion, sources, state_dicts
from rrsis_jax.weights.mapping import MappingError, Report, strip_prefix
from rrsis_jax.weights.sources import Source


def import_weights(source: Source | pathlib.Path | str, model: Model) -> tuple[Variables, Report]:
    """Reads a checkpoint in the authors' layout.

    Args:
      source: a .pth, .pt, .bin (these need the `torch` extra) or .safetensors file, a folder with
        one, or an address on the hub, see `sources.find`. Nothing in it is run.
      model: made by `registry.build`.

    Returns:
      {"params", "batch_stats"}, nested dictionaries of float32 NumPy arrays, and what went where.
      A text encoder that the file lacks is absent; layers that the published network lacks are
      zero, so they change nothing until they are trained.

    Raises:
      ValueError: if the file cannot be read, or does not fit the model; all differences are listed.
    """
    weights = source if isinstance(source, Source) else sources.find(source)
    if weights.holds_variables:
        raise ValueError(
            f"{weights.name} holds variables that this project wrote, not weights in their "
            "authors' layout. Use them as they are, as config.init_from or with `rrsis-predict "
            "--weights`."
        )
    return import_state_dict(state_dicts.read_state_dict(weights.path), model)


def import_files(files: Sequence[Source], model: Model) -> tuple[Variables, Report]:
    """Reads the checkpoints of several parts, each of which brings its own.

    Args:
      files: one or more, see `import_weights`.
      model: made by `registry.build`.

    Returns:
      What they hold together, and what of each went where.

    Raises:
      ValueError: as `import_weights` does, and if two of them hold the same parameter.
    """
    joined: dict[str, Array] = {}
    report = Report()
    for file in files:
        variables, own = import_weights(file, model)
        flat = flax.traverse_util.flatten_dict(variables, sep="/")
        twice = sorted(flat.keys() & joined.keys())
        if twice:
            raise ValueError(
                f"{file.name} holds parameters that a file before it holds, too, "
                f"{errors.listing(twice)}; name each part once."
            )
        joined |= flat
        report.rows += own.rows
    return flax.traverse_util.unflatten_dict(joined, sep="/"), report


def import_state_dict(
    state_dict: Mapping[str, np.ndarray], model: Model
) -> tuple[Variables, Report]:
    """Does what `import_weights` does with foreign name → array, with or without "module."."""
    state_dict = strip_prefix(state_dict, "module.")
    try:
        return conversion.import_state_dict(state_dict, model.table(), model.shapes())
    except MappingError as error:
        other = registry.recognised(state_dict)
        if other and other != model.name:
            raise MappingError(
                f"{error}\nThese look like {other!r} weights, and the configuration builds "
                f"{model.name!r}: use --config={registry.recipe(other)} or another of that model's."
            ) from None
        if advice := model.advice(state_dict):
            raise MappingError(f"{error}\n{advice}") from None
        raise


def export_weights(variables: Variables, model: Model, path: pathlib.Path | str) -> Report:
    """Writes variables as a checkpoint file that the authors' strict loading accepts.

    Args:
      variables: of `model`, with or without its text encoder.
      model: made by `registry.build`.
      path: of a .safetensors, .pth, .pt or .bin file.

    Returns:
      What the file holds.

    Raises:
      ValueError: if the variables are not the model's, or hold trained parameters that the
        published network could not compute with.
    """
    state_dict, report = export_state_dict(variables, model)
    table = model.table()
    state_dicts.write_state_dict(path, state_dict, table.section, table.text_apart)
    return report


def export_state_dict(variables: Variables, model: Model) -> tuple[dict[str, np.ndarray], Report]:
    """Does what `export_weights` does without a file: foreign name → array."""
    return conversion.export_state_dict(variables, model.table(), model.shapes())
