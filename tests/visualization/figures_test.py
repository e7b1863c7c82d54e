"""The grid of samples shows every sample with its phrase, tinted where its mask is."""

import numpy as np
import pytest

from rrsis_jax.visualization import figures


def test_the_grid_shows_each_sample_tinted_under_its_phrase():
    images = [np.full((4, 6, 3), 10 * k, np.uint8) for k in range(3)]
    masks = [np.zeros((4, 6, 1), np.uint8) for _ in range(3)]
    masks[1][2, 3] = 1
    figure = figures.sample_grid(images, masks, ["tree", "car", "road"], columns=2)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == ["tree", "car", "road"]
    changed = np.any(np.asarray(shown[1].images[0].get_array()) != images[1], axis=-1)
    np.testing.assert_array_equal(changed, masks[1][..., 0] > 0)
    np.testing.assert_array_equal(shown[2].images[0].get_array(), images[2])


@pytest.mark.parametrize("phrases", [[], ["tree"]])
def test_the_grid_refuses_lists_of_different_lengths(phrases):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"2 image\(s\), 2 mask\(s\) and {len(phrases)} phrase"):
        figures.sample_grid(images, images[..., 0], phrases)
