"""Configuration files: the named ones that come with the package, or a path to one's own."""

import pathlib
import runpy

import ml_collections

from rrsis_jax import configs


def names() -> list[str]:
    """Returns the names that `find` knows, like `quickstart`."""
    return sorted(path.stem for path in _folder().glob("*.py") if path.stem != "__init__")


def find(name: str) -> pathlib.Path:
    """Returns the file of a configuration.

    Args:
      name: a name, like `quickstart`, or a path that ends in `.py`.

    Raises:
      ValueError: if there is none, listing the names.
    """
    path = pathlib.Path(name)
    if path.suffix != ".py":
        path = _folder() / f"{name}.py"
    if not path.is_file():
        raise ValueError(
            f"There is no configuration {name}. Give the path of a .py file, or one of the names "
            f"{', '.join(names())}."
        )
    return path


def load(name: str) -> ml_collections.ConfigDict:
    """Returns a configuration, locked.

    Args:
      name: see `find`.

    Raises:
      ValueError: if there is none, or the file is none.
    """
    path = find(name)
    try:
        return runpy.run_path(str(path))["get_config"]().lock()
    except KeyError as error:
        raise ValueError(
            f"{path} is not a configuration file with a function get_config(); "
            "give one like configs/lgce_refsegrs.py."
        ) from error


def _folder() -> pathlib.Path:
    return pathlib.Path(configs.__path__[0])
