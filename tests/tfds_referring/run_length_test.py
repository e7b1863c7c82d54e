"""Masks come out as pycocotools wrote them; damaged ones are told, where pycocotools is silent."""

import sys

import numpy as np
import pytest
from pycocotools import mask as coco

from tests.tfds_referring.made_trees import rle
from tfds_referring import run_length, segmentations
from tfds_referring.run_length import SegmentationError

SQUARES = [[5, 5, 20, 5, 20, 20, 5, 20], [15, 15, 30, 15, 30, 30, 15, 30]]


def test_equal_to_pycocotools_on_random_masks():
    rng = np.random.default_rng(0)
    for share in (0, 0.02, 0.3, 0.5, 0.9, 1) * 25:
        mask = rng.random(rng.integers(1, 60, 2)) < share
        encoded = rle(mask)
        np.testing.assert_array_equal(run_length.decode(encoded, mask.shape), mask)
        # Of bytes, and of plain lengths as COCO writes crowds.
        as_bytes = {**encoded, "counts": encoded["counts"].encode()}
        np.testing.assert_array_equal(run_length.decode(as_bytes, mask.shape), mask)
        flat = mask.T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
        counts = np.diff([0, *edges, flat.size]).tolist()
        plain = {"size": list(mask.shape), "counts": counts}
        np.testing.assert_array_equal(run_length.decode(plain, mask.shape), mask)


def test_written_by_hand():
    assert not run_length.decode({"size": [5, 5], "counts": "i0"}, (5, 5)).any()
    assert run_length.decode({"size": [5, 5], "counts": "0i0"}, (5, 5)).all()


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ({"size": [5, 5], "counts": "h0"}, "runs over 24 pixels, but its image has 25"),
        ({"size": [5, 5], "counts": ""}, "runs over 0 pixels, but its image has 25"),
        ({"size": [5, 5], "counts": "i0i0"}, "runs over 50 pixels"),
        ({"size": [5, 5], "counts": "i"}, "no run-length text, or cut off"),
        ({"size": [5, 5], "counts": "i 0"}, "no run-length text"),
        ({"size": [5, 5], "counts": "é0"}, "not ASCII"),
        ({"size": [5, 5], "counts": "oooooooooo0"}, "more than 35 bits"),
        ({"size": [5, 5], "counts": "0O9i0"}, "a run below 0 or above its 25 pixels"),
        ({"size": [5, 5], "counts": [26, -1]}, "a run below 0 or above its 25 pixels"),
        ({"size": [5, 5], "counts": [10**30]}, "a run below 0 or above its 25 pixels"),
        ({"size": [5, 5], "counts": [12.5, 12.5]}, "counts of type list; expected text or whole"),
        ({"size": [5, 5], "counts": None}, "counts of type NoneType"),
        ({"size": [4, 5], "counts": "d0"}, r"of size \[4, 5\], but its image is \[5, 5\]"),
        ({"size": "55", "counts": "i0"}, "of size '55'"),
        ({"counts": "i0"}, "with the keys"),
        ([], "empty segmentation"),
        (None, "segmentation of type NoneType"),
        ([{"size": [5, 5], "counts": "i0"}, [1, 2]], "polygon whose corners|flat list"),
        ([[1, 1, 3, 3]], "no flat list x, y, … of three corners or more"),
        ([[1, 1, 3, 3, 2]], "no flat list"),
        ([[1, 1, 3, 3, 2, "4"]], "not all finite numbers"),
        ([[1, 1, 3, 3, 2, float("nan")]], "not all finite numbers"),
        ([[1, 1, 3, 3, 2, 1e9]], "far outside its image of 5x5 pixels"),
    ],
)
def test_damaged_segmentations_are_told(encoded, words):
    with pytest.raises(SegmentationError, match=words):
        segmentations.decode(encoded, (5, 5))


def test_a_size_that_no_memory_holds():
    huge = (10**6, 10**6)
    with pytest.raises(SegmentationError, match="has 1000000000000 pixels; expected 1 to"):
        run_length.decode({"size": list(huge), "counts": [10**12]}, huge)
    with pytest.raises(SegmentationError, match="has 1000000000000 pixels"):
        segmentations.decode([[1, 1, 9, 1, 9, 9]], huge)


def test_parts_that_overlap_are_united():
    assert segmentations.decode(SQUARES, (48, 48)).sum() == 425  # where the sum is 1: 400
    parts = np.zeros((2, 48, 48), bool)
    parts[0, 5:20, 5:20] = parts[1, 15:30, 15:30] = True
    united = segmentations.decode([rle(part) for part in parts], (48, 48))
    np.testing.assert_array_equal(united, parts.any(axis=0))


def test_polygons_are_drawn_as_coco_does():
    rng = np.random.default_rng(1)
    for corners in (3, 5, 9):
        polygon = rng.uniform(0, 48, 2 * corners).tolist()
        area = coco.area(coco.frPyObjects([polygon], 48, 48))[0]
        drawn = segmentations.decode(polygon, (48, 48))
        assert drawn.sum() == area > 0
        np.testing.assert_array_equal(segmentations.decode([polygon], (48, 48)), drawn)


def test_polygons_without_pycocotools_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(SegmentationError, match=r'pip install "rrsis-jax\[coco\]"'):
        segmentations.decode(SQUARES, (48, 48))


def test_a_literal_is_read(tmp_path):
    mask = np.random.default_rng(0).random((48, 48)) < 0.3  # with quotes and backslashes
    np.testing.assert_array_equal(segmentations.decode(str(rle(mask)), (48, 48)), mask)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path('{marker}').touch()",
        "open('{marker}', 'w')",
        "[x for x in (1, 2)]",
        "((((",
        "-" * 100_000 + "1",
        "[" * 100_000,
        "",
    ],
)
def test_a_literal_that_is_code_is_not_run(tmp_path, text):
    marker = tmp_path / "marker"
    with pytest.raises(SegmentationError, match="which is no plain Python literal"):
        segmentations.decode(text.replace("{marker}", str(marker)), (48, 48))
    assert not marker.exists()
