"""Referring remote sensing image segmentation in JAX.

  import rrsis_jax

  config = rrsis_jax.load_config("lgce_refsegrs")  # a name, or the path of a .py file
  model = rrsis_jax.build_model(config)            # `models.contract.Model`; its network is Linen
  variables, report = rrsis_jax.import_weights("lgce.pth", model)

  predictor = rrsis_jax.Predictor.from_workdir("runs/lgce")
  masks = predictor.predict("photo.png", ["tree", "red car"]).masks

The commands are `rrsis-train`, `rrsis-predict`, `rrsis-export`, `rrsis-report`, `rrsis-compare`,
`rrsis-weights` and `rrsis-prompts`, and `rrsis-dataset` of `tfds_refsegrs`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` finds
    from rrsis_jax.configuration.files import load as load_config
    from rrsis_jax.models.published import import_weights
    from rrsis_jax.models.registry import build as build_model
    from rrsis_jax.prediction.predictor import Predictor

__version__ = "0.2.0"

# Imported at first use, so that `import rrsis_jax` costs nothing.
_PUBLIC = {
    "Predictor": ("rrsis_jax.prediction.predictor", "Predictor"),
    "build_model": ("rrsis_jax.models.registry", "build"),
    "import_weights": ("rrsis_jax.models.published", "import_weights"),
    "load_config": ("rrsis_jax.configuration.files", "load"),
}

__all__ = ["Predictor", "__version__", "build_model", "import_weights", "load_config"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)
