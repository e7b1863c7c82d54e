"""Where a run's parameters come from: the order of precedence, owned by one function.

A run that has checkpoints of its own continues from them (see `train`). Otherwise, from strongest
to weakest: the weights named by `init_from`; the pretrained parts that the model's configuration
names; random numbers drawn from the seed.
"""

import functools
from collections.abc import Mapping, Sequence

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from rrsis_jax import errors
from rrsis_jax.models import published
from rrsis_jax.models.contract import Model
from rrsis_jax.types import Array, Params, Variables
from rrsis_jax.weights import mapping, runs, sources, trees, variable_folder
from rrsis_jax.weights.sources import Source


def reads_weights(config: ml_collections.ConfigDict, model: Model) -> bool:
    """Returns whether a run begins with weights of others, not with random numbers alone."""
    return bool(config.init_from or model.parts())


def find_starts(
    config: ml_collections.ConfigDict, commits: Mapping[str, str] | None = None
) -> dict[str, Source]:
    """Finds the weights that `init_from` names, runs aside, by these names.

    Args:
      config: the whole configuration.
      commits: name → commit that the run has begun with, see `sources.commits`.

    Raises:
      ValueError: see `sources.find`.
    """
    names = (name for name in config.init_from if not runs.is_run(name))
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
      ValueError: if a named file or folder does not fit the model, see `rrsis_jax.weights`, or
        the model cannot start from what they hold.
    """
    shapes = model.shapes()
    names = config.init_from
    adopted = load_sources(names, model, shapes, starts) if names else {}
    if lacking := model.lacking(flax.traverse_util.flatten_dict(adopted, sep="/")):
        raise ValueError(lacking)
    if trees.kinds(adopted).keys() == trees.kinds(shapes).keys():
        return adopted
    variables = random_variables(model, rng)
    for part in model.parts():
        if _below(adopted.get("params", {}), part.path):
            continue
        loaded, report = part.load(part.source, _below(shapes["params"], part.path))
        logging.info("%s from %s:\n%s", "/".join(part.path), part.source, report)
        nested = functools.reduce(lambda tree, key: {key: tree}, reversed(part.path), loaded)
        variables = _overlay(variables, {"params": nested})
    return _overlay(variables, adopted)


def random_variables(model: Model, rng: jax.Array) -> Variables:
    """Returns freshly drawn variables as numpy arrays."""
    images, text = (
        jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
        for shapes in model.sample_shapes()
    )
    # The program runs once: compiling it fast is worth more than running it fast.
    init = jax.jit(model.network().init, compiler_options={"xla_backend_optimization_level": 0})
    return jax.tree.map(np.asarray, {"batch_stats": {}, **init(rng, images, text)})


def load_sources(
    names: Sequence[str],
    model: Model,
    shapes: Variables,
    starts: Mapping[str, Source] | None = None,
) -> Variables:
    """Reads the variables that a run starts from, each source bringing its share.

    Args:
      names: of weights in their authors' layout, or of variables of this project, see
        `sources.find`; and folders of runs, of which the best checkpoint is taken. Two may hold
        the same parameter if they hold the same values.
      model: whose variables they become, see `contract.Model.adopt`.
      shapes: of these, see `contract.Model.shapes`.
      starts: made by `find_starts`; what it lacks is looked up now.

    Returns:
      All variables; but for an optional part's, and for those that the model itself leaves out.

    Raises:
      ValueError: if a source cannot be read, two disagree, or they do not fit the model.
    """
    origins: dict[str, str] = {}
    joined: dict[str, Array] = {}
    unfilled: list[mapping.Beginnings] = list(model.table().optional.values())
    for source in names:
        adopted, left_out = _adopted(source, model, starts or {})
        _check_agreement(source, adopted, joined, origins)
        for name, reason in left_out.items():
            logging.info("%s of %s is left out: %s", name, source, reason)
        unfilled += left_out
        joined |= adopted
        origins |= dict.fromkeys(adopted, source)
    absent = mapping.joined(
        part for part in unfilled if not any(name.startswith(part) for name in joined)
    )
    expected = {
        name: spec
        for name, spec in flax.traverse_util.flatten_dict(shapes, sep="/").items()
        if not name.startswith(absent)
    }
    variables, wanted = (
        flax.traverse_util.unflatten_dict(flat, sep="/") for flat in (joined, expected)
    )
    trees.check_variables(" with ".join(names), variables, wanted)
    return variables


def _adopted(
    name: str, model: Model, starts: Mapping[str, Source]
) -> tuple[dict[str, Array], dict[str, str]]:
    """Returns a source's arrays by the model's paths, and what is left out → the reason."""
    if runs.is_run(name):
        return model.adopt(runs.best(name)[1])
    source = starts.get(name) or sources.find(name)
    if source.holds_variables:
        return model.adopt(variable_folder.load(source.path.parent))
    variables, _ = published.import_weights(source, model)
    return flax.traverse_util.flatten_dict(variables, sep="/"), {}


def _check_agreement(
    source: str,
    adopted: Mapping[str, Array],
    joined: Mapping[str, Array],
    origins: Mapping[str, str],
) -> None:
    """Refuses values that differ from those of the sources before."""
    differing = sorted(
        name
        for name in adopted.keys() & joined.keys()
        if not np.array_equal(adopted[name], joined[name])
    )
    if differing:
        before = ", ".join(dict.fromkeys(origins[name] for name in differing))
        raise ValueError(
            f"{before} and {source} (init_from) hold other values of the same parameters, "
            f"{errors.listing(differing)}; name only the one that the run should start from."
        )


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
