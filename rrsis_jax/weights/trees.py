"""Nested dictionaries of arrays as flat ones, and whether two are of the same model."""

import hashlib
import pathlib
from typing import Any

import flax.traverse_util
import numpy as np
from flax.serialization import to_state_dict

from rrsis_jax import errors
from rrsis_jax.types import Params, Variables

Flat = dict[str, np.ndarray]


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which, why, and what to do next."""


class OtherModelError(CheckpointError):
    """A whole checkpoint whose arrays are not those of the configured model."""


def flatten(tree: Any) -> Flat:
    """Returns {"a/b/c": array} without empty nodes."""
    flat = flax.traverse_util.flatten_dict(to_state_dict(tree), sep="/")
    return {key: np.asarray(x) for key, x in flat.items()}


def unflatten(arrays: Flat) -> dict[str, Any]:
    """Undoes `flatten`."""
    return flax.traverse_util.unflatten_dict(arrays, sep="/")


def join(first: Params, second: Params) -> Params:
    """Returns the leaves of both nested dictionaries; of one that both have, the second's."""
    flat = flax.traverse_util.flatten_dict
    return flax.traverse_util.unflatten_dict({**flat(first), **flat(second)})


def kinds(tree: Any) -> dict[str, str]:
    """Returns the type and shape of every leaf by its flat name."""
    flat = flax.traverse_util.flatten_dict(to_state_dict(tree), sep="/")
    return {key: f"{np.dtype(x.dtype)}{list(x.shape)}" for key, x in flat.items()}


def digest(tree: Any) -> str:
    """Returns the SHA-256 of all arrays with their flat names, types and shapes."""
    sha256 = hashlib.sha256()
    for key, x in sorted(flatten(tree).items()):
        sha256.update(f"{key} {x.dtype} {x.shape}".encode())
        sha256.update(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def check_same(
    name: pathlib.Path | str, stored: dict[str, str], configured: dict[str, str]
) -> None:
    """Refuses the arrays of another model.

    Args:
      name: of the checkpoint, for the message.
      stored: what it holds, as `kinds` returns it.
      configured: what the configuration asks for.

    Raises:
      OtherModelError: listing what is missing, unknown or of another shape or type.
    """
    missing = sorted(configured.keys() - stored.keys())
    unknown = sorted(stored.keys() - configured.keys())
    differing = sorted(
        f"{key} (saved {stored[key]}, configured {configured[key]})"
        for key in configured.keys() & stored.keys()
        if stored[key] != configured[key]
    )
    if not (missing or unknown or differing):
        return
    lines = [f"Checkpoint {name} is of another model or configuration."]
    lines += [f"  not in the checkpoint: {errors.listing(missing)}"] if missing else []
    lines += [f"  only in the checkpoint: {errors.listing(unknown)}"] if unknown else []
    lines += [f"  of another shape or type: {errors.listing(differing)}"] if differing else []
    lines += ["Use the config that the run was started with, or choose another --workdir."]
    raise OtherModelError("\n".join(lines))


def check_variables(source: pathlib.Path | str, variables: Variables, shapes: Variables) -> None:
    """Refuses variables of another model.

    Args:
      source: where they are from, for the message.
      variables: nested dictionaries of arrays.
      shapes: the same of `jax.ShapeDtypeStruct`, see `models.contract.Model.shapes`.

    Raises:
      OtherModelError: listing what is missing, unknown or of another shape.
    """
    check_same(source, *(kinds(tree) for tree in (variables, shapes)))
