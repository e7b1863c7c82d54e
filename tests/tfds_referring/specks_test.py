import numpy as np
import pytest

from tests.tfds_referring.made_trees import lossy
from tfds_referring import specks


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_lossy_masks_lose_their_dots_and_keep_their_target():
    before, after = [], []
    for x in range(8):
        for height in (9, 10, 13):
            box = (8 + x, 9, 8 + x + 20, 9 + height)
            true = np.zeros((48, 48), bool)
            true[box[1] : box[3], box[0] : box[2]] = True
            mask = lossy(box) > 0
            cleaned = specks.remove(mask)
            assert specks.count(cleaned) == 0
            assert (cleaned <= mask).all()
            assert cleaned[true].mean() > 0.99
            before.append(iou(mask, true))
            after.append(iou(cleaned, true))
            if not np.array_equal(cleaned, mask):
                assert specks.count(mask) > 0
    assert np.mean(before) == pytest.approx(0.70, abs=0.02)
    assert np.mean(after) == pytest.approx(0.87, abs=0.02)


def test_large_parts_are_no_specks():
    mask = np.zeros((40, 40), bool)
    mask[2:12, 2:12] = mask[20:24, 20:24] = True  # 100 and 16 pixels
    mask[30, 30:39] = mask[35, 2] = True  # 9 and 1
    assert specks.count(mask) == 2
    mask[30, 30:39] = mask[35, 2] = False
    np.testing.assert_array_equal(specks.remove(mask), mask)


def test_a_mask_without_a_pixel():
    empty = np.zeros((4, 5), bool)
    assert specks.count(empty) == 0
    np.testing.assert_array_equal(specks.remove(empty), empty)
