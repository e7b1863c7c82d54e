"""Metrics against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.evaluation import metrics


def test_intersection_and_union_count_pixels_per_sample():
    prediction = jnp.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    target = jnp.array([[[1, 0], [1, 0]], [[0, 0], [0, 1]]])
    intersection, union = metrics.intersection_and_union(prediction, target)
    np.testing.assert_array_equal(intersection, [1, 0])
    np.testing.assert_array_equal(union, [3, 1])


def test_summary_of_three_samples():
    # IoU 1/2, 9/10 and 0: oIoU = (1 + 9 + 0) / (2 + 10 + 8).
    summary = metrics.summarize(np.array([1, 9, 0]), np.array([2, 10, 8]))
    assert summary["oIoU"] == pytest.approx(0.5)
    assert summary["mIoU"] == pytest.approx((0.5 + 0.9) / 3)
    assert summary["P@0.5"] == pytest.approx(2 / 3)  # IoU ≥ X counts equality
    assert summary["P@0.6"] == pytest.approx(1 / 3)
    assert summary["P@0.9"] == pytest.approx(1 / 3)
    assert summary["samples"] == 3


def test_an_empty_target_met_by_an_empty_prediction_scores_by_protocol():
    intersection, union = np.array([0, 4]), np.array([0, 4])
    assert metrics.summarize(intersection, union)["mIoU"] == 0.5
    assert metrics.summarize(intersection, union, empty_score=1.0)["mIoU"] == 1.0


def test_large_splits_do_not_overflow():
    # Ten thousand 800×800 samples hold more pixels than int32 counts.
    pixels = np.full(10_000, 800 * 800, np.int32)
    assert metrics.summarize(pixels, pixels)["oIoU"] == 1.0


def test_an_empty_split_is_refused():
    with pytest.raises(ValueError, match="No sample was evaluated"):
        metrics.summarize(np.array([]), np.array([]))
