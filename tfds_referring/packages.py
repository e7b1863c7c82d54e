"""The installed datasets by name: one package `tfds_<name>` each, beside this one."""

import importlib
import importlib.util
import pathlib
import pkgutil
import re
import sys
from typing import Any

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def names() -> list[str]:
    """Returns the names of the installed datasets."""
    beside = str(pathlib.Path(__file__).parents[1])  # where an editable installation has them
    modules = {module.name for module in pkgutil.iter_modules([*sys.path, beside])}
    candidates = {name.removeprefix("tfds_") for name in modules if name.startswith("tfds_")}
    return sorted(filter(_builder_module, candidates))


def builder_class(name: str) -> Any:
    """Returns the builder of a dataset; importing its package registers it with TFDS.

    Raises:
      ValueError: there is no such dataset; the message names those there are.
    """
    if not (_NAME.fullmatch(name) and _builder_module(name)):
        raise ValueError(f"There is no dataset {name!r}; known are {', '.join(names())}.")
    return importlib.import_module(f"tfds_{name}").Builder


def _builder_module(name: str) -> bool:
    """Tells whether there is a package `tfds_<name>` with a builder, without importing it."""
    spec = importlib.util.find_spec(f"tfds_{name}")
    places = (spec and spec.submodule_search_locations) or ()
    return any(module.name == f"{name}_dataset_builder" for module in pkgutil.iter_modules(places))
