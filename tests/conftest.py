"""Settings every test runs under, and the fixtures that several rooms share."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pathlib

import jax
import ml_collections
import pytest

from rrsis_jax.configs import default
from tfds_refsegrs import synthetic

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def goldens() -> pathlib.Path:
    """Folder of the reference implementation's recorded outputs."""
    return pathlib.Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory) -> pathlib.Path:
    """A folder in RefSegRS's layout with three scenes for training and one for each other split."""
    folder = tmp_path_factory.mktemp("scenes")
    synthetic.write_folder(folder, (3, 1, 1), size=48)
    return folder


def make_tiny_config() -> ml_collections.ConfigDict:
    """Returns the smallest network that has all parts, without a dataset."""
    config = default.get_config()
    config.data.image_size = 32
    config.data.num_threads = 2
    config.model.vision.embed_dim = 16
    config.model.vision.depths = (1, 1, 1, 1)
    config.model.vision.num_heads = (1, 2, 4, 8)
    config.model.vision.window_size = 4
    config.model.text.pretrained = ""
    config.model.text.hidden_size = 32
    config.model.text.num_hidden_layers = 1
    config.model.text.num_attention_heads = 2
    config.model.text.intermediate_size = 32
    config.model.text.vocab_size = 256
    config.model.text.max_position_embeddings = 32
    config.model.text.max_tokens = 12
    config.model.text.trained_layers = 1
    config.model.text.trained_embeddings = True
    config.optim.learning_rate = 1e-3
    config.train.batch_size = 4
    config.eval.batch_size = 4
    return config


@pytest.fixture
def tiny_config() -> ml_collections.ConfigDict:
    """The smallest network that has all parts, to be changed at will."""
    return make_tiny_config()
