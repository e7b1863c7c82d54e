"""A phrase as it reads in each mirrored or turned view of its image, as tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rrsis_jax.data import directions
from rrsis_jax.data.geometry import Geometry

Tokenize = Callable[[str], dict[str, np.ndarray]]


def tokenize_views(phrase: str, tokenize: Tokenize, views: Sequence[Geometry]) -> dict[str, Any]:
    """Tokenizes a phrase for each view.

    Args:
      phrase: the referring expression for the image as it is.
      tokenize: phrase → arrays of fixed shapes.
      views: V geometries.

    Returns:
      `text`, the arrays of all views, (V, …) each, and `weight`, float32 (V,): 1 where the phrase
      can be said of the view, else 0.
    """
    phrases = [directions.map_phrase(phrase, view) for view in views]
    tokens = [tokenize(phrase if mapped is None else mapped) for mapped in phrases]
    return {
        "text": jax.tree.map(lambda *arrays: np.stack(arrays), *tokens),
        "weight": np.array([mapped is not None for mapped in phrases], np.float32),
    }
