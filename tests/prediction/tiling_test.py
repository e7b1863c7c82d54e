"""Tiles cover everything, their shares add up to one, and their borders do not show."""

import numpy as np
import pytest

from rrsis_jax.prediction import tiling


def blend(image, tile, overlap, function):
    """Blends `function` of all tiles of an image (H, W)."""
    rows, columns = (tiling.make_axis(size, tile, overlap) for size in image.shape)
    blender = tiling.Blender(rows, columns, 1)
    bands = []
    for r, top in enumerate(rows.starts):
        for c, left in enumerate(columns.starts):
            blender.add(0, r, c, function(tiling.cut(image, top, left, tile), r, c))
        bands.append(blender.finish_row(r)[0])
    return np.concatenate(bands)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 56, 57, 257])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_shares_are_positive_and_add_up_to_one(size, overlap):
    axis = tiling.make_axis(size, 32, overlap)
    total = np.zeros(axis.padded_size)
    for start, shares in zip(axis.starts, axis.shares, strict=True):
        total[start : start + 32] += shares
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    assert (axis.shares > 0).all()
    assert axis.starts[0] == 0
    assert axis.starts[-1] + 32 == axis.padded_size
    assert (np.diff(axis.starts) <= 32 - round(32 * overlap)).all()


def test_the_number_of_tiles_is_the_least_that_covers():
    assert [len(tiling.make_axis(size, 32, 0.25).starts) for size in (32, 33, 56, 57)] == [
        1,
        2,
        2,
        3,
    ]


@pytest.mark.parametrize("shape", [(20, 70), (32, 32), (101, 67)])
def test_a_function_of_single_pixels_is_blended_to_itself(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    blended = blend(image, 32, 0.25, lambda x, r, c: np.sqrt(x))
    assert blended.shape == shape
    np.testing.assert_allclose(blended, np.sqrt(image), atol=1e-5)


def test_tiles_that_disagree_meet_without_a_step():
    # Neighbouring tiles say 0 and 1; without blending the step at their border would be 1.
    blended = blend(np.zeros((32, 200), np.float32), 32, 0.25, lambda x, r, c: x + c % 2)
    assert blended.min() < 0.01
    assert blended.max() > 0.99
    assert np.abs(np.diff(blended, axis=1)).max() < 0.25  # over 8 pixels of overlap


def test_small_images_are_mirrored():
    piece = tiling.cut(np.arange(6).reshape(2, 3), 0, 0, 4)
    np.testing.assert_array_equal(piece, [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [0, 1, 2, 2]])


def test_an_impossible_overlap_is_refused():
    with pytest.raises(ValueError, match=r"overlap is 1\.0; give a fraction"):
        tiling.make_axis(100, 32, 1.0)
