"""A phrase as it reads in each mirrored or turned view of its image, as token ids."""

from collections.abc import Callable, Sequence

import numpy as np

from rrsis_jax.data import directions
from rrsis_jax.data.geometry import Geometry

Tokenize = Callable[[str], tuple[np.ndarray, np.ndarray]]


def tokenize_views(
    phrase: str, tokenize: Tokenize, views: Sequence[Geometry]
) -> dict[str, np.ndarray]:
    """Tokenizes a phrase for each view.

    Args:
      phrase: the referring expression for the image as it is.
      tokenize: phrase → ids and mask, int32 (N,) each.
      views: V geometries.

    Returns:
      `view_ids` and `view_mask`, int32 (V, N), and `view_weight`, float32 (V,): 1 where the
      phrase can be said of the view, else 0.
    """
    phrases = [directions.map_phrase(phrase, view) for view in views]
    tokens = [tokenize(phrase if mapped is None else mapped) for mapped in phrases]
    return {
        "view_ids": np.stack([ids for ids, _ in tokens]),
        "view_mask": np.stack([mask for _, mask in tokens]),
        "view_weight": np.array([mapped is not None for mapped in phrases], np.float32),
    }
