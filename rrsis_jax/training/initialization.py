"""Where a run's parameters come from: the order of precedence, owned by one function.

A run that has checkpoints of its own continues from them (see `train`). Otherwise, from strongest
to weakest: the weights named by `init_from`; the pretrained parts that the model's configuration
names; random numbers drawn from the seed.
"""

import functools
from collections.abc import Mapping

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from rrsis_jax.models import published
from rrsis_jax.models.contract import Model
from rrsis_jax.types import Params, Variables
from rrsis_jax.weights import sources, trees, variable_folder
from rrsis_jax.weights.sources import Source


def find_starts(
    config: ml_collections.ConfigDict, commits: Mapping[str, str] | None = None
) -> dict[str, Source]:
    """Finds the weights that `init_from` names, by these names.

    Args:
      config: the whole configuration.
      commits: name → commit that the run has begun with, see `sources.commits`.

    Raises:
      ValueError: see `sources.find`.
    """
    names = (config.init_from,) if config.init_from else ()
    return {name: sources.find(name, (commits or {}).get(name, "")) for name in names}


def initial_variables(
    config: ml_collections.ConfigDict,
    model: Model,
    rng: jax.Array,
    starts: Mapping[str, Source] | None = None,
) -> Variables:
    """Returns the variables before the first step.

    Args:
      config: the whole configuration.
      model: built from it.
      rng: the key of randomly drawn parameters.
      starts: made by `find_starts`; None to find them now.

    Returns:
      {"params", "batch_stats"} of float32 numpy arrays.

    Raises:
      ValueError: if a named file or folder does not fit the model, see `rrsis_jax.weights`.
    """
    shapes = model.shapes()
    starts = find_starts(config) if starts is None else starts
    given = load_checkpoint(starts[config.init_from], model, shapes) if config.init_from else {}
    if trees.kinds(given).keys() == trees.kinds(shapes).keys():
        return given
    variables = random_variables(model, rng)
    for part in model.parts():
        if _below(given.get("params", {}), part.path):
            continue
        loaded, report = part.load(part.source, _below(shapes["params"], part.path))
        logging.info("%s from %s:\n%s", "/".join(part.path), part.source, report)
        nested = functools.reduce(lambda tree, key: {key: tree}, reversed(part.path), loaded)
        variables = _overlay(variables, {"params": nested})
    return _overlay(variables, given)


def random_variables(model: Model, rng: jax.Array) -> Variables:
    """Returns freshly drawn variables as numpy arrays."""
    images, text = (
        jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
        for shapes in model.sample_shapes()
    )
    # The program runs once: compiling it fast is worth more than running it fast.
    init = jax.jit(model.network().init, compiler_options={"xla_backend_optimization_level": 0})
    return jax.tree.map(np.asarray, {"batch_stats": {}, **init(rng, images, text)})


def load_checkpoint(source: Source, model: Model, shapes: Variables) -> Variables:
    """Reads weights in their authors' layout, or variables of this project.

    Args:
      source: made by `sources.find`.
      model: whose variables they become.
      shapes: of these, see `contract.Model.shapes`.

    Returns:
      All variables, or all but an optional part's.

    Raises:
      ValueError: if they do not fit the model.
    """
    if not source.holds_variables:
        return published.import_weights(source, model)[0]
    path = source.path.parent
    adopted, left_out = model.adopt(variable_folder.load(path))
    for name, reason in left_out.items():
        logging.info("%s of %s is left out: %s", name, path, reason)
    absent = tuple(
        part
        for part in model.table().optional.values()
        if not any(name.startswith(part) for name in adopted)
    )
    expected = {
        name: spec
        for name, spec in flax.traverse_util.flatten_dict(shapes, sep="/").items()
        if not name.startswith(absent)
    }
    variables, wanted = (
        flax.traverse_util.unflatten_dict(flat, sep="/") for flat in (adopted, expected)
    )
    trees.check_variables(path, variables, wanted)
    return variables


def _below(tree: Params, path: tuple[str, ...]) -> Params:
    """Returns the subtree at a path; empty if there is none."""
    return functools.reduce(lambda node, key: node.get(key, {}), path, tree)


def _overlay(params: Params, loaded: Params) -> Params:
    """Replaces the leaves of `params` that `loaded` has."""
    return {
        key: _overlay(value, loaded[key])
        if isinstance(value, dict) and key in loaded
        else loaded.get(key, value)
        for key, value in params.items()
    }
