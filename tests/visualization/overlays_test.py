"""The picture for people: outlines over tints over the image, and a legend."""

import numpy as np

from rrsis_jax.visualization import overlays


def test_a_mask_is_tinted_and_outlined():
    image = np.full((1000, 800, 3), 100, np.uint8)
    mask = np.zeros((1000, 800), bool)
    mask[200:600, 300:500] = True
    drawn = overlays.draw_map(image, [mask], ["tree   8.0 % of the image"])
    assert drawn.shape[1] == 800
    assert drawn.shape[0] > 1000  # the legend is below
    np.testing.assert_array_equal(drawn[200, 300:500], np.tile([240, 228, 66], (200, 1)))
    np.testing.assert_array_equal(drawn[400, 400], [142, 138, 89])  # 0.7 × 100 + 0.3 × yellow
    np.testing.assert_array_equal(drawn[100, 100], [100, 100, 100])
    assert (drawn[1000:] < 100).any()  # text
    assert (image == 100).all()  # the caller's pixels are not changed


def test_the_border_of_the_picture_is_no_outline():
    drawn = overlays.draw_map(
        np.zeros((1000, 900, 3), np.uint8), [np.ones((1000, 900), bool)], ["a"]
    )
    np.testing.assert_array_equal(drawn[0, 0], drawn[500, 450])


def test_long_captions_are_shortened_to_fit():
    caption = "building along the road that leads to the river " * 5
    drawn = overlays.draw_map(
        np.zeros((100, 100, 3), np.uint8), [np.zeros((100, 100), bool)], [caption]
    )
    assert drawn.shape[1] == 900
    assert (drawn[900:, -8:] == 255).all()
