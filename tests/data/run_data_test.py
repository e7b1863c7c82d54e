"""A run's data are checked before anything is trained or evaluated on them."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.data import contents, run_data
from rrsis_jax.models import registry
from tests import small_config


@pytest.fixture
def config(tiny_config, scene_folder, tmp_path):
    """A configuration with a copy of the scenes, to be changed at will."""
    shutil.copytree(scene_folder, tmp_path / "data")
    tiny_config.data.dataset = "refsegrs/folder"
    tiny_config.data.folder = str(tmp_path / "data")
    tiny_config.data.data_dir = str(tmp_path / "tfds")
    return tiny_config


def open_data(config, folder, evaluated=None):
    return run_data.open_data(config, folder, registry.build(config), evaluated)


@pytest.fixture
def workdir(config, tmp_path):
    """The folder of a run that began with these data."""
    folder = tmp_path / "run"
    folder.mkdir()
    open_data(config, folder).keep(folder)
    return folder


def add_phrase(tmp_path, split, phrase):
    file = tmp_path / f"data/output_phrase_{split}.txt"
    image_id = file.read_text().split()[0]
    text = file.read_text().splitlines(keepends=True)
    file.write_text("".join([f"{image_id} {phrase}\n", *text[1:]]))


def test_opening_writes_nothing(config, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    data = open_data(config, folder)
    assert not list(folder.iterdir())
    data.keep(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["data.json", "tokenizer"]
    assert contents.load(folder) == data.prepared.splits


def test_moved_data_go_on(config, workdir, tmp_path):
    run_folder.save_or_check(config, workdir)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"which is no folder\. Say where the data are now"):
        open_data(config, workdir)
    config.data.folder = str(tmp_path / "moved")
    run_folder.save_or_check(config, workdir)
    open_data(config, workdir)


def test_changed_data_are_refused_until_accepted(config, workdir, tmp_path, caplog):
    add_phrase(tmp_path, "val", "something new")
    with pytest.raises(
        ValueError, match=r"began with:\n  validation: other phrases\nGive back the"
    ):
        open_data(config, workdir)
    with pytest.raises(ValueError, match=r"\n  validation: other phrases\n.*accept_changes=True\."):
        open_data(config, workdir, "validation")
    open_data(config, workdir, "test")
    config.data.accept_changes = True
    with caplog.at_level(logging.WARNING):
        data = open_data(config, workdir)
    assert "not those that the run in" in caplog.text
    data.keep(workdir)
    config.data.accept_changes = False
    open_data(config, workdir)


def test_an_older_run_without_contents_says_so(config, workdir, caplog):
    (workdir / "data.json").unlink()
    (workdir / constants.CHECKPOINTS_FOLDER).mkdir()
    open_data(config, workdir)
    assert "keeps no contents of its data to compare these with" in caplog.text


def test_training_needs_its_splits_and_evaluation_only_one(config, tmp_path):
    (tmp_path / "data/output_phrase_val.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"no split 'validation', but .* they have test, train\."):
        open_data(config, tmp_path)
    open_data(config, tmp_path, "test")
    with pytest.raises(ValueError, match=r"no split 'validation' in refsegrs/folder_.* it has"):
        open_data(config, tmp_path, "validation")


def test_no_training_target_stops_before_training(config, tmp_path, monkeypatch):
    """As prepared by a dataset that checks no masks."""
    for file in (tmp_path / "data/masks").iterdir():
        Image.fromarray(np.zeros((48, 48), np.uint8)).save(file)
    with pytest.raises(
        ValueError, match=r"no mask of the training split has a pixel of the target"
    ):
        open_data(config, tmp_path)
    monkeypatch.setattr("tfds_referring.foreground.Census.problems", lambda self: [])
    with pytest.raises(ValueError, match=r"No mask of the \d+ training samples .*foreground="):
        open_data(config, tmp_path)


def test_an_evaluated_split_without_targets_is_told(config, tmp_path, caplog):
    for file in (tmp_path / "data/masks").glob("scene00004*"):
        Image.fromarray(np.zeros((48, 48), np.uint8)).save(file)
    open_data(config, tmp_path, "train")
    assert "has a pixel" not in caplog.text
    open_data(config, tmp_path, "test")
    assert "samples has a pixel of a target." in caplog.text


def test_the_rule_of_the_target_reaches_the_masks(config, tmp_path):
    for file in (tmp_path / "data/masks").iterdir():
        Image.fromarray(np.asarray(Image.open(file)) // 255 * np.uint8(38)).save(file)
    with pytest.raises(
        ValueError, match=r"with values 0, 38 in masks/.*foreground=nonzero in train"
    ):
        open_data(config, tmp_path)
    config.data.foreground = "38"
    found = open_data(config, tmp_path).prepared.splits["train"]
    assert found.targets == found.samples > 0


def test_phrases_that_are_read_in_part_are_named(config, workdir, tmp_path, caplog):
    long = "the very long road of many many many words at the end"
    add_phrase(tmp_path, "val", long)
    add_phrase(tmp_path, "test", "qqqq by the 水")
    config.data.accept_changes = True
    open_data(config, workdir, "test")
    assert "different phrases have words that mean nothing to the vocabulary: qqqq" in caplog.text
    assert "水 in 'qqqq by the 水'" in caplog.text
    assert "lose their end" not in caplog.text
    open_data(config, workdir)
    assert "because the model reads 12 tokens" in caplog.text
    assert f"{long!r} ends in '" in caplog.text
    assert "A new run with max_tokens=" in caplog.text


def test_absent_phrases_that_never_are_stop_before_training(config, tmp_path):
    file = tmp_path / "data/output_phrase_train.txt"
    file.write_text("".join(f"{line.split()[0]} tree\n" for line in file.read_text().splitlines()))
    config.data.augment.absent_phrases = 0.1
    data = open_data(config, tmp_path)
    with pytest.raises(
        ValueError, match=r"none is absent from any\. Set data\.augment\.absent_phra"
    ):
        data.train_batches(0)


def test_faults_of_a_folder_come_without_the_builders_arguments(config, tmp_path):
    (tmp_path / "data/images").rename(tmp_path / "data/pictures")
    with pytest.raises(
        ValueError, match=r"(?s)^\d+ problem\(s\) in .*no folder images/ or img_rgb/"
    ) as e:
        open_data(config, tmp_path)
    assert "builder_kwargs" not in str(e.value)


def test_stored_rows_are_checked_before_a_run_begins(scene_folder, tmp_path):
    config = small_config.get_config()
    config.data.dataset, config.data.folder = "refsegrs/folder", str(scene_folder)
    config.data.data_dir = str(tmp_path / "tfds")
    config.data.arrays.context = (str(tmp_path / "maps.npy"),)
    np.save(tmp_path / "maps.npy", np.ones((3, 16, 16), np.uint8))
    with pytest.raises(ValueError, match=r"holds uint8 \(3, 16, 16\); the model and the training"):
        open_data(config, tmp_path)
    assert open_data(config, tmp_path, "test").num_samples("test")  # which has no rows
    count = open_data(config, tmp_path, "test").num_samples("train")
    np.save(tmp_path / "maps.npy", np.full((count, 16, 16), 7, np.uint8))
    batch = next(open_data(config, tmp_path).train_batches(0))
    assert (batch["arrays"]["context"] == 7).all()
    open_data(config, tmp_path).keep(tmp_path)
    open_data(config, tmp_path)
    np.save(tmp_path / "maps.npy", np.full((count, 16, 16), 8, np.uint8))
    with pytest.raises(ValueError, match=r"files of data\.arrays\.context are not those that the"):
        open_data(config, tmp_path)
    config.data.accept_changes = True
    open_data(config, tmp_path)
    config.data.augment.geometry = "flips"
    with pytest.raises(ValueError, match=r"data\.augment\.geometry would change samples"):
        open_data(config, tmp_path)
