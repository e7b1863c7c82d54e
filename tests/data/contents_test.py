"""The same data are known again wherever they lie, and changed ones are told apart."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from rrsis_jax.data import contents, datasets
from tfds_referring import images


@pytest.fixture
def data(scene_folder, tmp_path):
    """A copy of the scenes, to be changed at will: (folder, function that reads it)."""
    folder = shutil.copytree(scene_folder, tmp_path / "data")

    def read(where=folder):
        return contents.read(datasets.prepare("refsegrs/folder", tmp_path / "tfds", where))

    return folder, read


def test_contents_of_the_splits(data):
    folder, read = data
    found = read()
    assert set(found.splits) == {"test", "train", "validation"}
    lines = (folder / "output_phrase_val.txt").read_text().splitlines()
    assert found.splits["validation"].samples == found.splits["validation"].targets == len(lines)
    assert found.phrases["validation"] == sorted({line.split(" ", 1)[1] for line in lines})


def test_moved_and_encoded_anew_are_the_same_data(data, tmp_path):
    folder, read = data
    before = read()
    moved = folder.rename(tmp_path / "moved")
    for file in sorted(moved.glob("images/*.png")):
        Image.open(file).save(file, compress_level=0)
        os.utime(file, ns=(0, 0))
    assert read(moved) == before
    assert contents.differences(before.splits, read(moved).splits) == []


def change_mask(folder):
    file = sorted((folder / "masks").glob("scene00003*"))[0]
    file.write_bytes(images.to_png(np.asarray(Image.open(file))[::-1, :, None]))


def change_image(folder):
    file = sorted((folder / "images").glob("scene00003*"))[0]
    file.write_bytes(images.to_png(np.asarray(Image.open(file)) ^ 1))


def change_phrase(folder):
    file = folder / "output_phrase_val.txt"
    image_id, *lines = file.read_text().split(" ", 1)
    file.write_text(f"{image_id} very {lines[0]}")


def drop_line(folder):
    file = folder / "output_phrase_val.txt"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))


def drop_split(folder):
    (folder / "output_phrase_val.txt").write_text("")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_mask, "validation: other masks"),
        (change_image, "validation: other images"),
        (change_phrase, "validation: other phrases"),
        (drop_line, "validation: {} samples then, {less} now"),
        (drop_split, "validation: {} samples then, no such split now"),
    ],
)
def test_a_change_is_told_apart(data, change, told):
    folder, read = data
    before = read().splits
    change(folder)
    count = before["validation"].samples
    assert contents.differences(before, read().splits) == [told.format(count, less=count - 1)]


def test_what_was_read_is_kept_while_the_files_fit(data, monkeypatch):
    _, read = data
    before = read()
    with monkeypatch.context() as patch:
        patch.setattr(contents, "_digest", None)
        assert read() == before
    builder = datasets.prepare("refsegrs/folder", data[0].parent / "tfds", data[0])
    kept = builder.data_path / "contents.json"
    document = json.loads(kept.read_text())
    document["files"]["refsegrs-test.array_record-00000-of-00001"] += 1
    for damaged in (json.dumps(document), "{}", "no JSON"):
        kept.write_text(damaged)
        assert read() == before
    assert json.loads(kept.read_text())["splits"]["test"]["samples"] > 0


def test_a_run_keeps_them(data, tmp_path):
    splits = data[1]().splits
    assert contents.load(tmp_path) is None
    contents.save(tmp_path, splits)
    assert contents.load(tmp_path) == splits
    (tmp_path / "data.json").write_text('{"train": {"samples": "many"}}')
    with pytest.raises(
        ValueError, match=r"does not say what data the run has: .* Restore a backup"
    ):
        contents.load(tmp_path)
