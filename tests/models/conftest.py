"""A tiny model with its inputs, and programs compiled as users' are."""

import jax
import ml_collections
import numpy as np
import pytest

from rrsis_jax.configs import default
from rrsis_jax.types import Batch


@pytest.fixture
def config() -> ml_collections.ConfigDict:
    """The configuration of a tiny LGCE."""
    config = default.get_config()
    config.model.vision.update(
        {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "window_size": 3}
    )
    config.model.text.update(
        {
            "hidden_size": 12,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "vocab_size": 30,
            "max_position_embeddings": 16,
            "max_tokens": 8,
        }
    )
    return config


@pytest.fixture(scope="session")
def inputs() -> tuple[Batch, Batch]:
    """Images and text; no side of the image is a multiple of anything."""
    rng = np.random.default_rng(0)
    mask = (np.arange(8)[None] < np.array([[4], [8]])).astype(np.int32)
    ids = rng.integers(5, 30, (2, 8)).astype(np.int32) * mask
    image = rng.standard_normal((2, 37, 50, 3), dtype=np.float32)
    return {"image": image}, {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="module")
def optimised_programs():
    """Programs are compiled as users' are, because the tolerances are of those."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
