"""Published weights to variables and back, by a model's table; knows no model.

variables, report = import_state_dict(state_dict, table, shapes)
state_dict, report = export_state_dict(variables, table, shapes)
"""

from collections.abc import Mapping

import flax.traverse_util
import jax
import numpy as np

from rrsis_jax.types import Variables
from rrsis_jax.weights.mapping import (
    Beginnings,
    MappingError,
    Report,
    Row,
    WeightTable,
    export_weights,
    import_weights,
    joined,
    strip_prefix,
)

COLLECTIONS = ("params", "batch_stats")
Specs = dict[str, jax.ShapeDtypeStruct]


def import_state_dict(
    state_dict: Mapping[str, np.ndarray], table: WeightTable, shapes: Variables
) -> tuple[Variables, Report]:
    """Carries a published state dict into variables.

    Args:
      state_dict: foreign name → array, with or without a leading "module." and `table.prefix`. A
        part that `table.optional` names may be absent as a whole, and then is absent from the
        result.
      table: of the model.
      shapes: of all its variables, see `contract.Model.shapes`.

    Returns:
      Nested dictionaries of float32 NumPy arrays, those of `table.fresh` zero; and what went where.

    Raises:
      MappingError: a ValueError that lists all differences.
    """
    bare = strip_prefix(strip_prefix(state_dict, "module."), table.prefix)
    state_dict = table.prepare(bare)
    absent = [
        ours
        for theirs, ours in table.optional.items()
        if not any(name.startswith(theirs) for name in state_dict)
    ]
    expected, fresh = _expected(shapes, table, absent)
    flat, report = import_weights(state_dict, table.rules, table.skips, expected)
    flat |= {path: np.zeros(spec.shape, spec.dtype) for path, spec in fresh.items()}
    report.rows += [Row("-", path, "zero: the published network lacks it") for path in fresh]
    return flax.traverse_util.unflatten_dict(flat, sep="/"), report


def export_state_dict(
    variables: Variables, table: WeightTable, shapes: Variables
) -> tuple[dict[str, np.ndarray], Report]:
    """Carries variables into the published layout, so that its strict loading accepts them.

    Names that exist there and are never called are filled, index buffers are added.

    Args:
      variables: nested dictionaries of arrays; an optional part may be absent.
      table: of the model.
      shapes: of all its variables.

    Raises:
      MappingError: a ValueError that lists all differences, or names trained parameters that the
        published network could not compute with.
    """
    flat = flax.traverse_util.flatten_dict(
        {key: variables.get(key, {}) for key in COLLECTIONS}, sep="/"
    )
    absent = table.absent(flat)
    expected, fresh = _expected(shapes, table, absent)
    trained = sorted(path for path in flat if path in fresh and np.any(flat[path]))
    if trained:
        raise MappingError(
            f"The published network has no layers for {', '.join(trained)}, and they are trained "
            "(not zero), so its state dict could not compute what this model does."
        )
    flat = {path: value for path, value in flat.items() if path not in fresh}
    weights = export_weights(flat, table.rules, expected)
    missing = joined(theirs for theirs, ours in table.optional.items() if ours in absent)
    inert, buffers = (
        {name: value for name, value in make().items() if not name.startswith(missing)}
        for make in (table.inert, table.buffers)
    )
    rows = [Row("variables", name) for name in weights]
    rows += [Row("-", name, "never called") for name in inert]
    rows += [Row("-", name, "index buffer") for name in buffers]
    return table.restore({**weights, **inert, **buffers}), Report(rows)


def _expected(
    shapes: Variables, table: WeightTable, absent: list[Beginnings]
) -> tuple[Specs, Specs]:
    """Returns path → shape of what the published network has, and of what only ours has."""
    flat = {
        path: spec
        for path, spec in flax.traverse_util.flatten_dict(shapes, sep="/").items()
        if not path.startswith(joined(absent))
    }
    fresh = {path: spec for path, spec in flat.items() if path.startswith(table.fresh)}
    return {path: spec for path, spec in flat.items() if path not in fresh}, fresh
