"""Masks follow images exactly, phrases follow the geometry, and the seed decides."""

import ml_collections
import numpy as np
import pytest

from rrsis_jax.configs import default
from rrsis_jax.data import augmentation, geometry


def make_sample(phrase="the left building"):
    """A sample whose mask can be read off the image: its red channel where that exceeds 127."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 128, (20, 20, 3), np.uint8)
    image[4:12, 2:9, 0] += 128
    return {"image": image, "mask": (image[..., :1] > 127).astype(np.uint8), "expression": phrase}


def options(**values):
    config = ml_collections.ConfigDict(default.get_config().data.augment)
    config.update(values)
    return config


def assert_mask_follows(sample):
    np.testing.assert_array_equal(sample["mask"], sample["image"][..., :1] > 127)


def test_black_boxes_lie_on_the_same_samples_in_new_places():
    augment = augmentation.build_augment(options(black_boxes=0.2), seed=1)
    white = {
        "image": np.full((300, 200, 3), 255, np.uint8),
        "mask": np.ones((300, 200, 1), np.uint8),
        "expression": "tree",
    }

    def covered(index, rng):
        sample = augment({**white, "index": index}, np.random.default_rng(rng))
        assert sample["mask"] is white["mask"]
        return sample["image"] == 0

    once = {index for index in range(500) if covered(index, rng=0).any()}
    again = {index for index in range(500) if covered(index, rng=1).any()}
    assert once == again
    assert 70 < len(once) < 130
    first, second = (covered(min(once), rng) for rng in (0, 1))
    assert (first != second).any()
    assert all((image.all(axis=2) == image.any(axis=2)).all() for image in (first, second))
    assert white["image"].all()
    shares = [covered(index, rng=index)[..., 0].mean() for index in once]
    # Fully apart, 20 to 60 squares are a third to all of it; they overlap.
    assert 0.2 < min(shares) < np.mean(shares) < max(shares) < 0.9


def test_black_boxes_cover_an_image_that_is_smaller():
    augment = augmentation.build_augment(options(black_boxes=1.0))
    sample = augment({**make_sample(), "index": 3}, np.random.default_rng(0))
    assert not sample["image"].any()


def test_the_papers_recipe_changes_nothing():
    assert augmentation.build_augment(options()) is None


def test_absent_phrases_come_from_somewhere():
    with pytest.raises(ValueError, match=r"absent_phrases is 0\.5, but .* give draw_absent"):
        augmentation.build_augment(options(absent_phrases=0.5))


@pytest.mark.parametrize("seed", range(8))
def test_moving_keeps_image_mask_and_phrase_together(seed):
    moved = augmentation.move(make_sample(), np.random.default_rng(seed), choices=geometry.ALL)
    assert_mask_follows(moved)
    rows, columns = np.nonzero(moved["mask"][..., 0])
    row, column = rows.mean() - 9.5, columns.mean() - 9.5  # the target lies left of the middle
    side = {"left": -column, "right": column, "top": -row, "bottom": row}
    assert side[moved["expression"].split()[1]] > 3


def test_all_geometries_are_drawn():
    rng, sample = np.random.default_rng(0), make_sample("building")
    seen = {
        augmentation.move(sample, rng, choices=geometry.ALL)["image"].tobytes() for _ in range(99)
    }
    assert len(seen) == 8


def test_a_phrase_that_cannot_be_mapped_keeps_its_image():
    sample = make_sample("car turning left")
    for seed in range(8):
        moved = augmentation.move(sample, np.random.default_rng(seed), choices=geometry.ALL)
        assert moved is sample


def test_crops_hold_some_target_and_match():
    rng, sample = np.random.default_rng(1), make_sample("building")
    sides = set()
    for _ in range(50):
        cut = augmentation.crop(sample, rng, smallest=0.3, keep=0.5)
        assert_mask_follows(cut)
        assert cut["mask"].sum() >= 0.5 * sample["mask"].sum()
        sides.add(cut["mask"].shape[0])
    assert min(sides) < 12 < max(sides) <= 20


def test_a_crop_that_cannot_keep_the_target_is_not_made():
    sample = make_sample("building")
    sample["mask"][:] = 1  # only the whole image keeps all of it
    cut = augmentation.crop(sample, np.random.default_rng(0), smallest=0.3, keep=1.0)
    assert cut is sample


def test_a_phrase_with_a_direction_is_not_cropped():
    sample = make_sample()
    assert augmentation.crop(sample, np.random.default_rng(0), smallest=0.3, keep=0.1) is sample


def test_recolouring_leaves_mask_and_phrase():
    sample = make_sample()
    changed = augmentation.recolour(sample, np.random.default_rng(0), strength=0.4)
    assert changed["mask"] is sample["mask"]
    assert changed["expression"] == sample["expression"]
    assert changed["image"].shape == sample["image"].shape
    assert changed["image"].dtype == np.uint8
    assert np.abs(changed["image"].astype(int) - sample["image"]).mean() > 2


def test_the_generator_decides():
    augment = augmentation.build_augment(options(geometry="all", crop_scale=0.5, photometric=0.3))
    one, same, other = (
        augment(make_sample("building"), np.random.default_rng(seed))["image"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or (one != other).any()


def test_a_share_of_the_samples_gets_a_phrase_that_names_nothing():
    sample, rng = {**make_sample("building"), "index": 3}, np.random.default_rng(0)
    augment = augmentation.build_augment(
        options(absent_phrases=0.25), draw_absent=lambda index, rng: f"absent from {index}"
    )
    found = [augment(sample, rng) for _ in range(400)]
    emptied = [one for one in found if one["expression"] == "absent from 3"]
    assert 70 < len(emptied) < 130
    assert not any(one["mask"].any() for one in emptied)
    assert all(one is sample for one in found if one["mask"].any())


def test_an_image_that_shows_everything_keeps_its_phrase():
    sample = {**make_sample("building"), "index": 0}
    assert (
        augmentation.empty(
            sample, np.random.default_rng(0), share=1.0, draw=lambda index, rng: None
        )
        is sample
    )
