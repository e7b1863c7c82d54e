"""Rows of training samples: each of its own sample, of a usable version, or refused in words."""

import re

import numpy as np
import pytest

from rrsis_jax.data import stored_rows
from rrsis_jax.data.inputs import ArrayInput, ImageInput, Inputs
from rrsis_jax.data.stored_rows import StoredRows, check_augmentation

SAMPLES = 6
MAPS, PLACES = ArrayInput((2, 3), "uint8"), ArrayInput((), "int64")


def inputs(**arrays):
    return Inputs(
        {"image": ImageInput(4)},
        target_size=4,
        arrays=arrays,
        usable=lambda rows: rows["maps"].any(axis=(1, 2)),
    )


@pytest.fixture
def files(tmp_path):
    """Two versions of maps, 10 + the sample and 20 + it, and one file of places."""
    for version in (1, 2):
        maps = np.arange(SAMPLES)[:, None, None] + np.full((1, 2, 3), 10 * version)
        maps[version] = maps[4] = 0
        np.save(tmp_path / f"{version}.npy", maps.astype(np.uint8))
    np.save(tmp_path / "places.npy", np.arange(SAMPLES))
    return {
        "maps": (str(tmp_path / "1.npy"), str(tmp_path / "2.npy")),
        "places": (str(tmp_path / "places.npy"),),
    }


def test_a_visit_draws_a_usable_version_of_its_sample(files):
    rows = StoredRows(files, inputs(maps=MAPS, places=PLACES), SAMPLES)
    assert rows.samples.tolist() == [0, 1, 2, 3, 5]
    rng = np.random.default_rng(0)
    seen = {sample: set() for sample in rows.samples.tolist()}
    for sample in seen:
        for _ in range(20):
            drawn = rows.draw(sample, rng)
            assert drawn["maps"].shape == (2, 3)
            assert drawn["places"] == sample
            seen[sample].add(int(drawn["maps"][0, 0]) - sample)
    assert seen == {0: {10, 20}, 1: {20}, 2: {10}, 3: {10, 20}, 5: {10, 20}}


def test_the_generator_decides(files):
    rows = StoredRows(files, inputs(maps=MAPS), SAMPLES)
    first, again = (
        [rows.draw(0, np.random.default_rng(seed))["maps"][0, 0] for seed in range(9)]
        for _ in range(2)
    )
    assert first == again


def test_a_folder_stands_for_its_files_in_the_order_of_their_numbers(tmp_path):
    for name in ("p_990.npy", "p_1155.npy", "p_990.npy.json", "other.npy"):
        (tmp_path / name).touch()
    single = str(tmp_path / "other.npy")
    names = [path.name for path in stored_rows.find((single, str(tmp_path)))]
    assert names == ["other.npy", "other.npy", "p_990.npy", "p_1155.npy"]


def test_a_run_knows_the_files_that_it_began_with(tmp_path):
    assert stored_rows.changed(tmp_path, {"maps": ["a"]}) == []
    stored_rows.keep(tmp_path, {"maps": ["a"], "places": ["b"]})
    assert stored_rows.changed(tmp_path, {"maps": ["a"], "places": ["b"]}) == []
    assert stored_rows.changed(tmp_path, {"maps": ["a", "c"], "places": ["b"]}) == ["maps"]
    assert stored_rows.changed(tmp_path, {"maps": ["a"]}) == ["places"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"maps": ()}, "name their .npy files in data.arrays.maps"),
        ({"maps": ("{tmp}/absent.npy",)}, "absent.npy (data.arrays.maps) cannot be read"),
        ({"maps": ("{tmp}/empty",)}, "empty (data.arrays) holds no .npy file. Name another"),
        ({"maps": ("{tmp}/text.npy",)}, "text.npy (data.arrays.maps) cannot be read"),
        ({"maps": ("{tmp}/short.npy",)}, "holds uint8 (5, 2, 3); the model and the training split"),
        ({"maps": ("{tmp}/places.npy",)}, "holds int64 (6,); the model and the training split ask"),
        ({"maps": ("{tmp}/zip.npz",)}, "holds several arrays; the model and the training split"),
        ({"maps": ("{tmp}/zero.npy",)}, "No training sample has a usable row in data.arrays.maps"),
        (
            {"places": ("{tmp}/places.npy",) * 3},
            "data.arrays has 2 of maps, 3 of places: files belong together by their place",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(files, tmp_path, change, told):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "short.npy", np.ones((5, 2, 3), np.uint8))
    np.save(tmp_path / "zero.npy", np.zeros((SAMPLES, 2, 3), np.uint8))
    np.savez(tmp_path / "zip.npz", maps=np.ones(3))
    (tmp_path / "text.npy").write_text("no array")
    named = {
        name: tuple(file.format(tmp=tmp_path) for file in paths) for name, paths in change.items()
    }
    with pytest.raises(ValueError, match=re.escape(told)):
        StoredRows({**files, **named}, inputs(maps=MAPS, places=PLACES), SAMPLES)


def test_changes_that_rows_would_not_follow_are_refused():
    changes = {"geometry": "none", "crop_scale": 1.0, "absent_phrases": 0.0, "photometric": 0.3}
    check_augmentation(changes)
    with pytest.raises(
        ValueError, match=r"data\.augment\.geometry would change samples, and their"
    ):
        check_augmentation({**changes, "geometry": "flips"})
