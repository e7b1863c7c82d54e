"""The example of docs/architecture.md, "Add a model": the page's lines in a copy of the project.

The folder that is added asks for all that a model can: a tokenizer of its own, two images,
log-odds of one channel, two terms of the loss, a frozen parameter.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
import rasterio

from rrsis_jax.weights import checkpoints, trees, variable_folder
from tests import shell_blocks
from tests.fake_runs import write_scene
from tests.layering_test import ROOMS

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning"
)

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
COPIED = ("rrsis_jax", "configs", "tfds_referring", "tfds_refsegrs", "tests/stand_ins/tiny")
MASK, PROBABILITY = "01_red_car_mask.tif", "01_red_car_probability.tif"

# One process runs all commands: most of the time of each would be its imports. At last the first
# training once more, stopped by a signal amid an epoch and given again.
RUN = """
import importlib, json, os, shutil, signal, sys
from rrsis_jax.training import train

def run(name, *words):
    importlib.import_module("rrsis_jax.cli." + name.removeprefix("rrsis-")).main(words)

def stopped(make_hooks):
    def send(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
    return lambda *arguments: [*make_hooks(*arguments), send]

commands = json.loads(sys.argv[1])
for words in commands:
    run(*words)
again = [word.replace("runs/tiny", "runs/again") for word in commands[0]]
make_hooks, train.make_hooks = train.make_hooks, stopped(train.make_hooks)
try:
    run(*again)
except SystemExit as stop:
    print("stopped with", stop.code)
train.make_hooks = make_hooks
run(*again)
"""


@pytest.fixture(scope="module")
def project(scene_folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the project in which the page was followed."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "scenes").symlink_to(scene_folder)
    write_scene(root / "scene.tif")
    section = [block for block in shell_blocks.blocks(PAGE, ROOT) if "tiny" in block.body]
    config, lines = section
    name, _, body = config.body.partition("\n")
    (root / name.removeprefix("# ")).write_text(body)
    (_, *copy), *commands = [command.words for command in shell_blocks.commands(lines)]
    assert copy == ["-r", "tests/stand_ins/tiny", "rrsis_jax/models/"]
    shutil.move(root / "tests/stand_ins/tiny", root / "rrsis_jax/models/tiny")
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=root,
        env={
            **os.environ,
            "HOME": str(root),
            "XLA_FLAGS": "",  # one device
            "JAX_ENABLE_COMPILATION_CACHE": "true",  # of the step, which is compiled three times
            "JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "stopped with 143" in done.stdout
    return root


def best(run: pathlib.Path) -> tuple[int, Any]:
    saved = checkpoints.Checkpoints(run / "checkpoints", read_only=True)
    try:
        return saved.restore_best()
    finally:
        saved.close()


def read(path: pathlib.Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_it_is_trained_and_evaluated(project: pathlib.Path):
    report = json.loads((project / "runs/tiny/metrics.json").read_text())
    assert [record["step"] for record in report["history"]] == [4, 8]
    evaluated = json.loads((project / "runs/tiny/metrics_validation.json").read_text())
    assert evaluated["splits"]["validation"] == report["splits"]["validation"]


def test_a_run_stopped_by_a_signal_ends_like_an_undisturbed_one(project: pathlib.Path):
    reports = [(project / "runs" / run / "metrics.json").read_text() for run in ("tiny", "again")]
    assert reports[0] == reports[1]
    (step, variables), (step_again, again) = (
        best(project / "runs" / run) for run in ("tiny", "again")
    )
    assert step == step_again
    assert trees.digest(variables) == trees.digest(again)


def test_what_it_freezes_stays_and_is_stored_once(project: pathlib.Path):
    _, variables = best(project / "runs/tiny")
    (folder,) = (project / "runs/tiny/checkpoints").glob("frozen-*")
    assert list(trees.flatten(variable_folder.load(folder))) == ["params/scale"]
    np.testing.assert_array_equal(variables["params"]["scale"], 1.0)
    assert np.any(variables["params"]["context_head"]["bias"] != 0)  # only the second term moves it


def test_bundle_and_imported_weights_predict_what_the_run_predicts(project: pathlib.Path):
    mask = read(project / "out/run" / MASK)
    probability = read(project / "out/run" / PROBABILITY).astype(int)
    assert mask.shape == (40, 50)
    assert np.ptp(probability) > 0
    for source in ("bundle", "weights"):
        np.testing.assert_array_equal(read(project / "out" / source / MASK), mask)
        there = read(project / "out" / source / PROBABILITY).astype(int)
        assert np.abs(there - probability).max() <= 1  # steps of 1 / 254


def test_weights_come_back_as_they_went(project: pathlib.Path):
    _, trained = best(project / "runs/tiny")
    jax.tree.map(np.testing.assert_array_equal, variable_folder.load(project / "weights"), trained)


def test_the_table_of_rooms_is_the_order_that_imports_follow():
    table = [line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert table == list(reversed(ROOMS))
