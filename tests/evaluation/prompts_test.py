"""Prompts of a run's checkpoints: one row a sample, good ones only, made once, checked after."""

import shutil

import numpy as np
import pytest

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data import stored_rows
from rrsis_jax.evaluation import prompts
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.evaluation.prompts import Thresholds
from rrsis_jax.models import registry
from rrsis_jax.weights.checkpoints import Checkpoints
from tests import small_config
from tests.conftest import random_variables

ALL = Thresholds(iou=0.0, area=0.0)


@pytest.fixture(scope="module")
def workdir(scene_folder, tmp_path_factory):
    """A run of the stand-in with two checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    config = small_config.get_config()
    config.data.dataset = "refsegrs/folder"
    config.data.folder = str(scene_folder)
    config.data.data_dir = str(tmp_path_factory.mktemp("tfds"))
    run_folder.save_or_check(config, folder)
    variables = random_variables(registry.build(config))
    saved = Checkpoints(folder / constants.CHECKPOINTS_FOLDER)
    for step, sign in ((3, 1), (7, -1)):
        variables["params"]["decoder"]["bias"] = np.float32([sign])
        saved.save(step, variables, {}, score=0.1 * step)
    saved.close()
    return folder


@pytest.fixture(scope="module")
def made(workdir, tmp_path_factory):
    return prompts.make(workdir, tmp_path_factory.mktemp("prompts"), ALL)


@pytest.fixture
def files(made):
    return [file.path for file in made]


def test_a_checkpoint_has_a_file_of_its_probabilities(files):
    assert [file.name for file in files] == ["prompt_3.npy", "prompt_7.npy"]
    much, little = (np.load(file) for file in files)
    assert much.shape == little.shape == (len(much), 8, 8)
    assert much.dtype == np.uint8
    # Its bias adds 1 to the log-odds of the one checkpoint, and takes 1 from those of the other.
    assert abs(much.mean() / 255 - 1 / (1 + np.exp(-1.0))) < 0.05
    assert abs(little.mean() / 255 - 1 / (1 + np.exp(1.0))) < 0.05


def test_files_are_made_once(made, files, workdir, monkeypatch):
    times = [file.stat().st_mtime_ns for file in files]
    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "log_odds", None)  # nothing is computed
        again = prompts.make(workdir, files[0].parent, ALL)
    assert [file.path for file in again] == files
    assert [file.made for file in again + made] == [False, False, True, True]
    assert all(file.usable.all() for file in again + made)
    assert [file.stat().st_mtime_ns for file in files] == times


def test_what_was_changed_is_made_anew(made, workdir, tmp_path):
    first, _ = made
    path = tmp_path / first.path.name
    for change in ("rows", "description", "thresholds"):
        for file in (first.path, stored_rows._description(first.path)):
            shutil.copy(file, tmp_path)
        if change == "rows":
            np.save(path, np.load(path) // 2)
        elif change == "description":
            stored_rows._description(path).write_text("{")
        thresholds = Thresholds(iou=0.0, area=0.01 * (change == "thresholds"))
        (again,) = prompts.make(workdir, tmp_path, thresholds, steps=(3,))
        assert again.made, change
        np.testing.assert_array_equal(np.load(path), np.load(first.path))


def test_predictions_below_a_threshold_are_none(workdir, tmp_path):
    strict = Thresholds(iou=1.0, area=0.0)
    (file,) = prompts.make(workdir, tmp_path, strict, steps=(3,))
    assert not np.load(file.path).any()
    assert not file.usable.any()
    target = np.zeros((10, 10), bool)
    target[:, :5] = True
    small = np.zeros_like(target)
    small[0, :2] = True
    assert prompts._is_good(target, target, Thresholds(iou=1.0, area=0.5))
    assert not prompts._is_good(small, target, Thresholds(iou=0.0, area=0.05))
    assert not prompts._is_good(small, target, Thresholds(iou=0.1, area=0.0))
    assert not prompts._is_good(small & False, target & False, Thresholds(iou=0.1, area=1e-4))


def test_a_checkpoint_that_is_not_there_is_named(workdir, tmp_path):
    with pytest.raises(ValueError, match=r"holds no checkpoint of step 4; it has 3, 7\. Choose"):
        prompts.make(workdir, tmp_path, ALL, steps=(3, 4))


def test_damaged_and_foreign_files_are_refused(files, tmp_path):
    data = {"samples": 2, "images": "a"}
    path = tmp_path / "rows.npy"
    rows = np.load(files[0])
    stored_rows.save(path, rows, {"data": data})
    named = {"prompt": (str(path),)}
    digests = stored_rows.check_descriptions(named, data)
    assert stored_rows.check_descriptions({"prompt": (str(tmp_path),)}, data) == digests
    assert stored_rows.is_made_of(path, {"data": data})
    assert not stored_rows.is_made_of(path, {"data": {**data, "samples": 3}})
    with pytest.raises(ValueError, match=r"rows\.npy was made of other data than the training"):
        stored_rows.check_descriptions(named, {**data, "images": "b"})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"rows\.npy was changed since it was made"):
        stored_rows.check_descriptions(named, data)
    assert not stored_rows.is_made_of(path, {"data": data})
    stored_rows._description(path).write_text("{")
    with pytest.raises(ValueError, match=r"rows\.npy is not used: .*json.* Make it anew"):
        stored_rows.check_descriptions(named, data)
