"""Shapes of a network's variables, traced once for each network."""

import functools
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from rrsis_jax.types import Variables


def variable_shapes(network: nn.Module, *inputs: Any) -> Variables:
    """Returns shapes and types of the variables that a network makes; computes nothing.

    Args:
      network: without variables.
      *inputs: trees of `jax.ShapeDtypeStruct` that it is called with.

    Returns:
      Nested dictionaries of `jax.ShapeDtypeStruct`, the caller's own.
    """
    leaves, structure = jax.tree.flatten(inputs)
    widest = jax.dtypes.canonicalize_dtype("float64")
    trace = _traced if _has_hash(network) else _traced.__wrapped__
    return jax.tree.map(lambda leaf: leaf, trace(network, tuple(leaves), structure, widest))


def _has_hash(network: nn.Module) -> bool:
    """Returns whether no field of a network is a list, say."""
    try:
        hash(network)
    except TypeError:
        return False
    return True


@functools.lru_cache(maxsize=32)
def _traced(
    network: nn.Module,
    leaves: tuple[jax.ShapeDtypeStruct, ...],
    structure: Any,
    widest: np.dtype,
) -> Variables:
    """Traces the network, which takes seconds where it is large.

    Args:
      network: without variables; equal ones have equal fields.
      leaves: of the inputs.
      structure: of the inputs.
      widest: of the types that JAX computes with at present; those of variables depend on it.
    """
    del widest
    inputs = jax.tree.unflatten(structure, leaves)
    return dict(jax.eval_shape(network.init, jax.random.key(0), *inputs))
