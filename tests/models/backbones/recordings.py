"""The recorded outputs of the published encoders, the networks of them and their weights."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from rrsis_jax.models.backbones import encoders
from tests.goldens import seeded_weights

GOLDENS = pathlib.Path(__file__).parents[2] / "goldens"

# The sizes of the recordings, in our fields.
FIELDS = {
    "sam_tiny": {
        "width": 32,
        "depth": 3,
        "num_heads": 4,
        "global_layers": (1,),
        "mlp_dim": 48,
        "image_size": 112,
        "window": 4,
        "features": 24,
        "mask_channels": 8,
        "decoder_heads": 2,
        "decoder_mlp_dim": 40,
        "decoder_epsilon": 1e-6,  # recorded with Hugging Face's implementation
        "iou_hidden": 20,
    },
    "sam2_tiny": {
        "embed_dim": 16,
        "num_heads": 1,
        "depths": (1, 2, 3, 1),
        "windows": (4, 2, 4, 2),
        "global_blocks": (4,),
        "background": 3,
        "image_size": 128,
        "features": 32,
    },
    "siglip_tiny": {
        "width": 24,
        "mlp_dim": 40,
        "depth": 2,
        "num_heads": 3,
        "image_size": 48,
        "patch_size": 8,
        "vocab_size": 120,
        "text_positions": 16,
    },
    "beit3_tiny": {
        "width": 32,
        "mlp_dim": 64,
        "depth": 3,
        "num_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "vocab_size": 120,
        "text_positions": 40,
    },
}
PUBLISHED = {  # a published size of each network
    "sam_tiny": "sam_vit_b",
    "sam2_tiny": "sam2_hiera_tiny",
    "siglip_tiny": "siglip_so400m_patch14_384",
    "beit3_tiny": "beit3_large_patch16_224",
}
FILES = {"beit3_tiny": "rs2sam2_small"}  # BEiT-3 was recorded within a larger network


@dataclasses.dataclass(frozen=True)
class Recording:
    """A network, its weights under their published names, and what was recorded."""

    network: nn.Module
    state_dict: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    image: np.ndarray

    @property
    def seed(self) -> int:
        return int(self.arrays["seed"])


def network(name: str, **fields: Any) -> nn.Module:
    """Returns the network of a recording, with some fields changed."""
    return encoders.build(PUBLISHED[name], **{**FIELDS[name], **fields})


@functools.cache
def load(name: str) -> Recording:
    """Reads a recording, such as "sam_tiny"."""
    file = FILES.get(name, name)
    arrays = dict(np.load(GOLDENS / f"{file}.npz"))
    seed = int(arrays["seed"])
    state_dict = seeded_weights.seeded_state_dict(GOLDENS / f"manifest_{file}.json", seed)
    image = seeded_weights.seeded_image(tuple(arrays["image_shape"]), seed)
    if name == "beit3_tiny":
        prefix = "mm_extractor."
        state_dict = {
            key.removeprefix(prefix): value
            for key, value in state_dict.items()
            if key.startswith(prefix)
        }
        image = seeded_weights.seeded_image(tuple(arrays["text_image_shape"]), seed + 1000)
    return Recording(network(name), state_dict, arrays, image)


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a recording's weights by their published names."""
    text = (GOLDENS / f"manifest_{name}.json").read_text()
    return {key: tuple(shape) for key, shape in json.loads(text).items()}


def seeded_array(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns the standard normal array that recordings take where no image goes in."""
    return seeded_weights.seeded_image(shape, seed)


def run(recording: Recording, method: Any, *inputs: np.ndarray) -> tuple[dict, dict]:
    """Runs a network once, compiled.

    Returns:
      What `method` returned, and the outputs of all modules as nested dictionaries.
    """
    variables, _ = encoders.import_state_dict(recording.network, recording.state_dict)

    @jax.jit
    def apply(variables, *inputs):
        return recording.network.apply(
            variables,
            *inputs,
            method=method,
            capture_intermediates=True,
            mutable="intermediates",
        )

    outputs, inner = apply(variables, *inputs)
    flat = traverse_util.flatten_dict(inner["intermediates"], sep="/")
    return outputs, {path.removesuffix("/__call__"): calls[0] for path, calls in flat.items()}


def check(ours: np.ndarray, recorded: np.ndarray) -> None:
    """Compares with a recorded array: 1e-5 relative, 5e-6 absolute where it is small."""
    assert ours.shape == recorded.shape
    np.testing.assert_allclose(ours, recorded, rtol=1e-5, atol=5e-6)
