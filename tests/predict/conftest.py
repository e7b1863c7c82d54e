"""A tiny run on disk, a stand-in model that looks at single pixels, and small scenes."""

import jax
import numpy as np
import optax
import pytest
import rasterio
from rasterio.transform import from_origin

from rrsis_jax import checkpoints, run_config, train_state
from rrsis_jax.data import tokenizer
from rrsis_jax.models import segmenter
from rrsis_jax.predictor import Predictor
from tests.conftest import make_tiny_config
from tests.fake_runs import stand_in_model

PHRASES = ("tree", "building along the road", "red car", "road marking on the grey road")


def tiny_config():
    config = make_tiny_config()
    config.model.text.vocab_size = 96
    config.model.text.max_tokens = 8
    return config


def random_variables(config_model):
    """Returns variables without compiling the model's initialisation."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return np.ones(leaf.shape, np.float32)
        return rng.normal(0, 0.05, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, segmenter.variable_shapes(config_model))


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """Folder of a run with random weights."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config()
    run_config.save_or_check(config, folder)
    tokenizer.train(PHRASES, 96, 8).save(folder / "tokenizer")
    variables = random_variables(config.model)
    state = train_state.create_state(
        variables, optax.sgd(0.1), lambda path: False, jax.random.PRNGKey(0)
    )
    saved = checkpoints.Checkpoints(folder / "checkpoints")
    saved.save(1, jax.device_get(state), {}, 0.5)
    saved.wait()
    saved.close()
    return folder


@pytest.fixture(scope="session")
def live(workdir):
    """A predictor of the tiny run, with one batch size so that it compiles once."""
    return Predictor.from_workdir(workdir, batch_size=4)


@pytest.fixture
def stand_in(workdir):
    """A predictor of `fake_runs.stand_in_model`; `traces` lists the squares a device compiled."""
    traces = []
    model = stand_in_model(tokenizer.load(str(workdir / "tokenizer"), 8), traces)
    predictor = Predictor(model, batch_size=8)
    predictor.traces = traces
    return predictor


@pytest.fixture
def image():
    """uint8 (75, 90, 3): smooth bright and dark patches with some noise."""
    return make_image(75, 90)


def make_image(height, width):
    rows, columns = np.mgrid[:height, :width]
    patches = 127 + 90 * np.sin(rows / 9.0) * np.cos(columns / 7.0)
    noise = np.random.default_rng(0).uniform(-30, 30, (height, width, 3))
    return np.clip(patches[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def write_scene(tmp_path):
    """Returns a function that writes (H, W, bands) as a GeoTIFF in UTM with 0.5 m pixels."""

    def write(array, name="scene.tif", **profile):
        path = tmp_path / name
        settings = {
            "driver": "GTiff",
            "height": array.shape[0],
            "width": array.shape[1],
            "count": array.shape[2],
            "dtype": array.dtype,
            "crs": "EPSG:32633",
            "transform": from_origin(400000, 5000000, 0.5, 0.5),
            **profile,
        }
        colours = settings.pop("colorinterp", None)
        with rasterio.open(path, "w", **settings) as dataset:
            if colours:
                dataset.colorinterp = colours
            dataset.write(np.moveaxis(array, -1, 0))
        return path

    return write
