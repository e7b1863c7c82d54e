"""Folders of variables, as imports and bundles have them: one safetensors file."""

import pathlib

import numpy as np
import safetensors.numpy

from rrsis_jax import errors, io
from rrsis_jax.types import Variables
from rrsis_jax.weights import trees, variables_file


def save(directory: pathlib.Path | str, variables: Variables) -> None:
    """Writes `params` and `batch_stats` to `directory` as one safetensors file.

    Args:
      directory: created if need be; a file of variables in it is replaced.
      variables: nested dictionaries of arrays.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.asarray(x, order="C") for key, x in trees.flatten(variables).items()}
    with io.replacing(variables_file.path(directory)) as partial:
        partial.write_bytes(safetensors.numpy.save(arrays))


def load(directory: pathlib.Path | str) -> Variables:
    """Reads what `save` wrote.

    Returns:
      {"params": …, "batch_stats": …} of numpy arrays.

    Raises:
      CheckpointError: if the folder holds no readable variables.
    """
    path = variables_file.path(directory)
    if not path.is_file():
        raise trees.CheckpointError(variables_file.missing(directory))
    try:
        arrays = safetensors.numpy.load_file(path)
        variables = trees.unflatten(arrays)
        if trees.flatten(variables).keys() != arrays.keys():
            raise ValueError("the name of an array is the beginning of another's")
    except Exception as error:  # safetensors raises its own, undocumented kinds
        raise trees.CheckpointError(
            f"{path} is damaged: {errors.first_line(error)}. Import or export it again."
        ) from error
    return variables
