"""Settings every test runs under, and the fixtures that several rooms share."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A process of tests compiles dozens of programs; see `rrsis_jax.compilation`.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
# Compiling is most of what the tests do. `tests/pretrained` compares numbers of optimised programs.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"

import pathlib

import jax
import ml_collections
import pytest

from tests.tiny_config import get_config as make_tiny_config
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


@pytest.fixture
def tiny_config() -> ml_collections.ConfigDict:
    """The smallest network that has all parts, to be changed at will."""
    return make_tiny_config()
