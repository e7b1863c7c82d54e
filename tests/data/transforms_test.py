"""Resizing equals PIL's, which the reference uses."""

import numpy as np
from PIL import Image

from rrsis_jax.data import transforms


def test_images_are_resized_bilinearly_as_by_pil():
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((24, 24), Image.BILINEAR))
    resized = transforms.resize_image(image, 24)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected)


def test_masks_take_the_nearest_pixel():
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, 2:] = 1
    np.testing.assert_array_equal(transforms.resize_mask(mask, 2), [[0, 1], [0, 0]])
    assert set(np.unique(transforms.resize_mask(mask, 7))) == {0, 1}


def test_the_right_size_is_left_alone():
    image = np.zeros((8, 8, 3), np.uint8)
    assert transforms.resize_image(image, 8) is image
