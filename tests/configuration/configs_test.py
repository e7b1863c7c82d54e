"""Every named config is locked, known to the default, and builds."""

import importlib
import pathlib
import zlib

import jax
import pytest

from rrsis_jax.configs import default
from rrsis_jax.models import registry
from rrsis_jax.training import optim

NAMES = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parents[2] / "configs").glob("*.py")
    if path.stem != "__init__"
)


def load(name):
    return importlib.import_module(f"rrsis_jax.configs.{name}").get_config()


def keys(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, type(config)):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_the_named_configs_are_these():
    assert {"default", "quickstart", "lgce_refsegrs", "lavt_refsegrs"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_locked_and_has_the_default_keys(name):
    config = load(name)
    assert config.is_locked
    assert list(keys(config)) == list(keys(default.get_config(config.model.name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_config_builds(name):
    config = load(name)
    model = registry.build(config)
    assert model.name == config.model.name
    schedule = optim.build_schedule(config.optim, total_steps=10**6)
    optim.build_optimizer(config.optim, schedule, model)


@pytest.mark.parametrize(
    ("name", "count", "tree"),
    [
        ("lgce_refsegrs", 263_566_202, 781769080),
        ("lavt_refsegrs", 227_739_514, 3897216418),
        ("quickstart", 2_133_624, 3534716522),
    ],
)
def test_parameter_count_and_shape_tree_are_pinned(name, count, tree):
    shapes = registry.build(load(name)).shapes()
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == count
    listing = [
        f"{jax.tree_util.keystr(path)} {x.shape}" for path, x in jax.tree.leaves_with_path(shapes)
    ]
    assert zlib.crc32("\n".join(sorted(listing)).encode()) == tree


def test_the_paper_recipe_is_the_papers():
    config = load("lgce_refsegrs")
    assert (config.data.image_size, config.train.batch_size, config.train.epochs) == (480, 8, 40.0)
    assert config.data.ground_sampling_distance == pytest.approx(0.139, abs=5e-4)
    assert (config.optim.learning_rate, config.optim.weight_decay) == (5e-5, 1e-2)
    assert config.loss.class_weights == (0.9, 1.1)
    assert config.loss.dice_weight == config.optim.clip_norm == config.optim.ema_decay == 0.0
