"""The recorded outputs of the reference implementation with the weights they were made of."""

import dataclasses
import importlib.util
import json
import pathlib
from types import ModuleType

import jax
import ml_collections
import numpy as np
import pytest

from rrsis_jax.configs import default


@dataclasses.dataclass(frozen=True)
class Golden:
    """One recording: what went in, what came out, and the model of it."""

    config_model: ml_collections.ConfigDict
    state_dict: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    image: np.ndarray
    text_features: np.ndarray
    attention_mask: np.ndarray


@pytest.fixture(scope="module", autouse=True)
def optimised_programs():
    """Programs are compiled as users' are, because the tolerances are of those."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def seeded(goldens: pathlib.Path) -> ModuleType:
    """The module that draws weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("seeded_weights", goldens / "seeded_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_config(decoder: str, small: bool) -> ml_collections.ConfigDict:
    """The `model` section of a recording."""
    config = default.get_config()
    config.model.decoder = decoder
    if small:
        config.model.vision.embed_dim = 16
        config.model.vision.depths = (2, 2, 4, 2)
        config.model.vision.num_heads = (1, 2, 4, 8)
        config.model.vision.window_size = 7
        config.model.vision.drop_path_rate = 0.0
    return config.model


def load_golden(goldens: pathlib.Path, seeded: ModuleType, name: str) -> Golden:
    """Reads one recording, such as "lgce_small"."""
    decoder, size = name.split("_")
    arrays = dict(np.load(goldens / f"{name}.npz"))
    seed, shape = int(arrays["seed"]), tuple(arrays["image_shape"])
    return Golden(
        config_model=golden_config(decoder, small=size == "small"),
        state_dict=seeded.seeded_state_dict(goldens / f"manifest_{name}.json", seed),
        arrays=arrays,
        image=seeded.seeded_image(shape, seed),
        text_features=seeded.seeded_image((shape[0], 20, 768), seed + 1000),
        attention_mask=attention_mask(arrays["text_lengths"]),
    )


def attention_mask(lengths: np.ndarray, positions: int = 20) -> np.ndarray:
    """Returns int32 (B, positions): 1 on the first `lengths` positions."""
    return (np.arange(positions)[None] < lengths[:, None]).astype(np.int32)


@pytest.fixture(scope="session", params=["lgce", "lavt"])
def small(request: pytest.FixtureRequest, goldens: pathlib.Path, seeded: ModuleType) -> Golden:
    return load_golden(goldens, seeded, f"{request.param}_small")


@pytest.fixture(scope="session")
def lgce_small(goldens: pathlib.Path, seeded: ModuleType) -> Golden:
    return load_golden(goldens, seeded, "lgce_small")


@pytest.fixture(scope="session")
def lavt_small(goldens: pathlib.Path, seeded: ModuleType) -> Golden:
    return load_golden(goldens, seeded, "lavt_small")


@pytest.fixture(scope="module", params=["lgce", "lavt"])
def base(request: pytest.FixtureRequest, goldens: pathlib.Path, seeded: ModuleType) -> Golden:
    return load_golden(goldens, seeded, f"{request.param}_base")


@dataclasses.dataclass(frozen=True)
class TrainingGolden:
    """One recorded training run: its configuration, first weights, batches and numbers."""

    config: ml_collections.ConfigDict
    state_dict: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    batches: list[dict[str, np.ndarray]]


@pytest.fixture(scope="module", params=["lgce", "lavt"])
def training(
    request: pytest.FixtureRequest, goldens: pathlib.Path, seeded: ModuleType
) -> TrainingGolden:
    arrays = dict(np.load(goldens / f"{request.param}_small_train.npz"))
    seed = int(arrays["seed"])
    state_dict = seeded.seeded_state_dict(goldens / f"manifest_{request.param}_small.json", seed)
    bert = seeded.seeded_state_dict(goldens / "manifest_bert_small.json", seed)
    state_dict |= {f"text_encoder.{name}": value for name, value in bert.items()}
    text = json.loads((goldens / "bert_small_config.json").read_text())
    config = training_config(request.param, text, arrays)
    batches = [
        training_batch(seeded, arrays, seed * 100 + k, text["vocab_size"])
        for k in range(int(arrays["num_batches"]))
    ]
    return TrainingGolden(config, state_dict, arrays, batches)


def training_config(decoder: str, text: dict, arrays: dict) -> ml_collections.ConfigDict:
    """The configuration of a recorded training run."""
    config = default.get_config()
    config.model = golden_config(decoder, small=True)
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        config.model.text[key] = text[key]
    config.model.text.vocab_size = text["vocab_size"]
    config.model.text.max_position_embeddings = text["max_position_embeddings"]
    config.model.text.dropout = text["hidden_dropout_prob"]
    config.model.text.trained_layers = int(arrays["trained_text_layers"])
    config.optim.learning_rate = float(arrays["lr"])
    config.optim.weight_decay = float(arrays["weight_decay"])
    return config


def training_batch(
    seeded: ModuleType, arrays: dict, seed: int, vocab_size: int
) -> dict[str, np.ndarray]:
    """The batch that a seed draws: image, token ids, and one square of target a sample."""
    batch, height, width, _ = shape = tuple(arrays["image_shape"])
    mask = attention_mask(arrays["text_lengths"])
    ids = np.random.Generator(np.random.Philox(key=[seed, 2])).integers(5, vocab_size, (batch, 20))
    places = np.random.Generator(np.random.Philox(key=[seed, 3]))
    rows, columns = height // 3, width // 3
    target = np.zeros((batch, height, width), np.uint8)
    for sample in target:
        y, x = places.integers(0, height - rows), places.integers(0, width - columns)
        sample[y : y + rows, x : x + columns] = 1
    return {
        "image": seeded.seeded_image(shape, seed),
        "input_ids": (ids * mask).astype(np.int32),
        "attention_mask": mask,
        "mask": target,
    }
