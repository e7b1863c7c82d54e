"""The models by name: a folder of `rrsis_jax.models` with a config.py, known by its import path.

Nothing here imports a network, so the command line can ask for names, keys and rules at once.
"""

import importlib
import importlib.metadata
import pathlib
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import ml_collections

from rrsis_jax import models
from rrsis_jax.validators import Rule

if TYPE_CHECKING:
    from rrsis_jax.models.contract import Model

ENTRY_POINTS = "rrsis_jax.models"  # other distributions name the packages of their models here
_added: dict[str, str] = {}


def names() -> list[str]:
    """Returns the names that `config.model.name` can have."""
    return sorted(_packages())


def add(name: str, package: str) -> None:
    """Makes a model known that lies elsewhere.

    Args:
      name: `config.model.name`.
      package: import path of the package that holds config.py and model.py.
    """
    _added[name] = package


def defaults(name: str) -> ml_collections.ConfigDict:
    """Returns the sections of a model with their defaults.

    They are `model`, `loss` and `groups`; and `arrays` where it trains on stored rows.

    Raises:
      ValueError: if there is no such model.
    """
    return _config_module(name).get_config()


def small(name: str) -> ml_collections.ConfigDict:
    """Returns the sections at a size that compiles in seconds; see `defaults`."""
    return _config_module(name).get_small()


def rules(name: str) -> Mapping[str, Rule]:
    """Returns the rule of each key of a model's sections by its dotted name."""
    return _config_module(name).RULES


def former_keys(name: str) -> Mapping[str, str]:
    """Returns former dotted key → present one of a model's sections."""
    return _config_module(name).OLD


def later_keys(name: str) -> Mapping[str, Any]:
    """Returns keys that a model's sections got later → the value that meant the same before.

    `LATER` of its config.py; most models have none.
    """
    return getattr(_config_module(name), "LATER", {})


def recipe(name: str) -> str:
    """Returns the name of the configuration with the recipe of a model's paper."""
    return _config_module(name).RECIPE


def recognised(names_of_weights: Iterable[str]) -> str | None:
    """Returns the model whose published weights have such names; None if that is not certain."""
    foreign = list(names_of_weights)
    for name in names():
        mark = _config_module(name).MARK
        if mark and any(re.fullmatch(mark, known) for known in foreign):
            return name
    return None


def build(config: ml_collections.ConfigDict) -> "Model":
    """Returns the model that a configuration describes.

    Args:
      config: the whole configuration.

    Raises:
      ValueError: if the model is unknown, or values do not fit together; all are listed.
    """
    name = config.model.name
    model = importlib.import_module(f"{_package(name)}.model").build(config)
    problems = model.problems()
    if problems:
        raise ValueError(
            f"The model {name!r} cannot be built:\n" + "\n".join(f"- {p}" for p in problems)
        )
    return model


def _config_module(name: str) -> ModuleType:
    return importlib.import_module(f"{_package(name)}.config")


def _package(name: str) -> str:
    packages = _packages()
    if name not in packages:
        raise ValueError(
            f"There is no model {name!r} (model.name); known are {', '.join(sorted(packages))}."
        )
    return packages[name]


def _packages() -> dict[str, str]:
    """Returns name → import path; no package is imported."""
    own = {
        path.parent.name: f"{models.__name__}.{path.parent.name}"
        for path in pathlib.Path(models.__path__[0]).glob("*/config.py")
    }
    others = {
        point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)
    }
    return {**others, **_added, **own}
