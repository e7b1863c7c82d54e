"""Settings every test runs under, and the fixtures that several rooms share: a tiny run, small
scenes, a stand-in model that looks at single pixels."""

import os
import tempfile
from importlib import metadata

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    # A step compiles in half the time, and in a tenth less where its program is not cut for
    # threads: the other core has tests of its own. XLA ends a process for an unknown flag.
    + " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    * metadata.version("jaxlib").startswith("0.10.")
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Each process of tests keeps its programs for itself: a run that goes on needs those of its start.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="programs_of_tests_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
# XLA's own generator compiles in a tenth of the time, once for each parameter and dropout.
os.environ["JAX_DEFAULT_PRNG_IMPL"] = "rbg"
# Compiling is most of what the tests do. `tests/models` compares numbers of optimised programs.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"

import ctypes
import dataclasses
import gc
import importlib.util
import pathlib
import shutil
import threading
from types import ModuleType

import jax
import ml_collections
import numpy as np
import optax
import pytest
import rasterio
import tensorflow_datasets as tfds
import tqdm
from flax.core.scope import Scope
from rasterio.transform import from_origin

import tests.stand_ins  # noqa: F401, names the stand-in models
from rrsis_jax.configs import default
from rrsis_jax.configuration import run_folder
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.models import contract, registry
from rrsis_jax.prediction.predictor import Predictor
from rrsis_jax.training import train_state
from rrsis_jax.weights import checkpoints
from tests import read_parameters
from tests.fake_runs import stand_in_model
from tests.tiny_config import get_config as make_tiny_config
from tfds_refsegrs.synthetic import triplets

PHRASES = ("tree", "building along the road", "red car", "road marking on the grey road")


# Files that take longest come first, so that no process is left with one of them at the end.
LONGEST_FIRST = (
    "distributed/hosts_test.py",
    "models/contract_test.py",
    "models/dicor_training_test.py",
    "models/training_contract_test.py",
    "models/fianet_test.py",
    "models/dicor_test.py",
    "models/lgce_training_test.py",
    "models/rmsin_test.py",
    "models/aeroreformer_test.py",
    "models/forward_parity_test.py",
    "training/train_test.py",
    "training/train_step_test.py",
    "training/initialization_test.py",
    "notebooks_test.py",
    "readme_test.py",
    "fuzz_test.py",
    "models/encoders_test.py",
    "prediction/predictor_test.py",
    "models/registry_test.py",
)

jax.config.update("jax_numpy_rank_promotion", "raise")
# A bar that an interrupted test leaves behind may hold the lock that TFDS's bars wait for.
tfds.disable_progress_bar()


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = pathlib.Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Traces make many objects; looking through all of them for garbage took a tenth of a test."""
    gc.collect()
    gc.freeze()  # modules stay
    gc.set_threshold(10_000)


@pytest.fixture(scope="module", autouse=True)
def programs_of_one_file():
    """Compiled programs are let go with a file of tests, where they have become too many."""
    yield
    if is_crowded():
        jax.clear_caches()
    gc.collect()
    gc.freeze()  # what is left stays: half a second to look through after each file
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps what is freed
        trim(0)


def is_crowded() -> bool:
    """Whether this process has come near to what it may have.

    Linux allows 65,530 memory mappings, of which programs hold hundreds to thousands each, and two
    processes of tests shall have five gigabytes each at most.
    """
    process = pathlib.Path("/proc/self")
    if not process.exists():
        return True
    mappings = (process / "maps").read_bytes().count(b"\n")
    resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return mappings > 25_000 or resident > 3e9


@pytest.fixture(scope="session", autouse=True)
def parameters_are_read_by_their_shape():
    """Traces take two thirds of the time, see `read_parameters`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scope, "param", read_parameters.param)
        yield


@pytest.fixture(autouse=True)
def lock_of_bars():
    """A lock of tqdm's bars for each test, which it gives back: a thread would wait for ever."""
    lock, free = threading.RLock(), []
    tqdm.tqdm.set_lock(lock)
    yield

    def take():
        if lock.acquire(timeout=5):
            lock.release()
            free.append(True)

    other = threading.Thread(target=take)
    other.start()
    other.join()
    assert free == [True], "the lock of tqdm's bars is still taken"


@pytest.fixture(scope="session")
def goldens() -> pathlib.Path:
    """Folder of the reference implementation's recorded outputs."""
    return pathlib.Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory) -> pathlib.Path:
    """A folder in RefSegRS's layout with three scenes for training and one for each other split."""
    folder = tmp_path_factory.mktemp("scenes")
    triplets.write_folder(folder, (3, 1, 1), size=48)
    return folder


@pytest.fixture
def tiny_config() -> ml_collections.ConfigDict:
    """The smallest network that has all parts, to be changed at will."""
    return make_tiny_config()


def run_config():
    config = make_tiny_config()
    config.model.text.max_tokens = 8
    return config


def random_variables(model):
    """Returns variables without compiling the model's initialisation."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return np.ones(leaf.shape, np.float32)
        return rng.normal(0, 0.05, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, model.shapes())


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """Folder of a run with random weights."""
    folder = tmp_path_factory.mktemp("run")
    config = run_config()
    run_folder.save_or_check(config, folder)
    wordpiece.train(PHRASES, config.model.text.vocab_size, 8).save(folder / "tokenizer")
    model = registry.build(config)
    variables = random_variables(model)
    state = train_state.create_state(variables, optax.sgd(0.1), model, jax.random.PRNGKey(0))
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
    """A predictor of `fake_runs.stand_in_model`; `traces` lists what was compiled, and its rows."""
    traces = []
    model = stand_in_model(wordpiece.load(str(workdir / "tokenizer"), 8), traces)
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


@dataclasses.dataclass(frozen=True)
class Golden:
    """One recording: what went in, what came out, and the configuration of it."""

    config: ml_collections.ConfigDict
    state_dict: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    image: np.ndarray
    text_features: np.ndarray
    attention_mask: np.ndarray

    @property
    def model(self) -> contract.Model:
        return registry.build(self.config)


@pytest.fixture(scope="session")
def seeded(goldens: pathlib.Path) -> ModuleType:
    """The module that draws weights and inputs from names and seeds."""
    spec = importlib.util.spec_from_file_location("seeded_weights", goldens / "seeded_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_config(name: str, small: bool) -> ml_collections.ConfigDict:
    """The configuration of a recording."""
    config = default.get_config(name)
    if small:
        config.model.vision.embed_dim = 16
        config.model.vision.depths = (2, 2, 4, 2)
        config.model.vision.num_heads = (1, 2, 4, 8)
        config.model.vision.window_size = 7
        config.model.vision.drop_path_rate = 0.0
    else:
        config.model.scan = True  # compiles in less time; the small ones run block after block
    return config


def load_golden(goldens: pathlib.Path, seeded: ModuleType, name: str) -> Golden:
    """Reads one recording, such as "lgce_small"."""
    model, size = name.split("_")
    arrays = dict(np.load(goldens / f"{name}.npz"))
    seed, shape = int(arrays["seed"]), tuple(arrays["image_shape"])
    return Golden(
        config=golden_config(model, small=size == "small"),
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
