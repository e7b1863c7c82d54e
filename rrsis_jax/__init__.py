"""Referring remote sensing image segmentation in JAX.

  from rrsis_jax import Predictor, build_model

  model = build_model(config.model)               # a Flax module, see configs/default.py
  predictor = Predictor.from_workdir("runs/lgce")  # a trained model
  masks = predictor.predict("photo.png", ["tree", "red car"]).masks

The commands are `rrsis-train`, `rrsis-predict`, `rrsis-export`, `rrsis-report`, `rrsis-compare` and
`rrsis-weights`, and `rrsis-dataset` of `tfds_refsegrs`.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

# Imported at first use, so that `import rrsis_jax` costs nothing.
_PUBLIC = {
    "Predictor": "rrsis_jax.prediction.predictor",
    "build_model": "rrsis_jax.models.registry",
}

__all__ = ["Predictor", "__version__", "build_model"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
