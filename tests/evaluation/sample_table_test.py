"""The table of samples and its breakdowns, against numbers worked out by hand."""

import csv
import json

import numpy as np
import pytest

from rrsis_jax.evaluation import breakdowns, sample_table
from rrsis_jax.evaluation.sample_table import Sample, SampleTable


def sample(index, intersection, union, **changes):
    facts = {
        "index": index,
        "image_id": f"id{index}",
        "tile": f"tile{index // 2}",
        "phrase": "road",
        "category": "road",
        "form": "class",
        "size": "2 to 10 %",
        "target_share": 0.05,
        "paper_intersection": intersection,
        "paper_union": union,
        "native_intersection": 2 * intersection,
        "native_union": 2 * union,
    }
    return Sample(**{**facts, **changes})


@pytest.fixture
def table():
    samples = [
        sample(0, 1, 2, category="tree", form="relation", phrase="tree, by a “road”"),
        sample(1, 9, 10),
        sample(2, 0, 8, size="under 0.5 %"),
        sample(3, 0, 0, size="empty", target_share=0.0),
    ]
    about = {"split": "test", "dataset": "refsegrs/folder/1.0.0", "image_size": 4, "data": {}}
    about |= {"model": "lgce", "checkpoint_step": 1, "config_sha256": "0" * 64}
    return SampleTable({**about, sample_table.LANGUAGE_CHECK: 0.25}, samples)


def test_both_protocols(table):
    np.testing.assert_allclose(table.iou("paper"), [0.5, 0.9, 0, 0])
    np.testing.assert_allclose(table.iou("native"), [0.5, 0.9, 0, 1])
    assert table.summary("paper")["oIoU"] == 0.5
    assert table.summary("paper")["mIoU"] == pytest.approx(0.35)
    assert table.summary("native")["mIoU"] == pytest.approx(0.6)


def test_intervals_hold_the_value_and_repeat(table):
    intervals = table.intervals("paper")
    for name in ("oIoU", "mIoU"):
        low, high = intervals[name]
        assert low <= table.summary("paper")[name] <= high
    assert table.intervals("paper") == intervals


def test_saving_and_loading(table, tmp_path):
    sample_table.save(table, tmp_path)
    assert sample_table.load(tmp_path, "test") == table
    with (tmp_path / "evaluation_test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["phrase"] == "tree, by a “road”"
    assert [int(row["paper_union"]) for row in rows] == [2, 10, 8, 0]


def test_a_missing_or_broken_table_is_explained(table, tmp_path):
    with pytest.raises(ValueError, match=r"no evaluation of the split 'test'.*--mode=evaluate"):
        sample_table.load(tmp_path, "test")
    sample_table.save(table, tmp_path)
    path = sample_table.json_file(tmp_path, "test")
    broken = json.loads(path.read_text(encoding="utf-8"))
    broken["columns"][0] = "number"
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=r"not a readable evaluation.*Evaluate the split again"):
        sample_table.load(tmp_path, "test")


def test_breakdown_by_category_counts_most_first(table):
    found = breakdowns.breakdown(table, "category", "paper")
    assert list(found) == ["road", "tree"]
    assert found["road"]["samples"] == 3
    assert found["road"]["oIoU"] == 0.5
    assert found["road"]["mIoU"] == pytest.approx(0.3)
    assert found["tree"]["mIoU interval"] == [0.5, 0.5]


def test_breakdown_by_size_goes_from_small_to_large(table):
    found = breakdowns.breakdown(table, "size", "native")
    assert list(found) == ["empty", "under 0.5 %", "2 to 10 %"]
    assert [part["mIoU"] for part in found.values()] == [1.0, 0.0, pytest.approx(0.7)]
    assert list(breakdowns.breakdown(table, "form", "paper")) == ["class", "relation"]
