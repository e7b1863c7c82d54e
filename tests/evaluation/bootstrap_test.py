"""Bootstrap intervals against what statistics says they must be."""

import numpy as np
import pytest

from rrsis_jax.evaluation import bootstrap


def draw(iou, images=None, **options):
    iou = np.asarray(iou, float)
    union = np.full(len(iou), 100)
    images = [str(i) for i in range(len(iou))] if images is None else images
    return bootstrap.resample(100 * iou, union, iou, images, **options)


def test_the_interval_of_a_mean_is_the_normal_one():
    iou = np.random.default_rng(0).uniform(size=400)
    low, high = bootstrap.interval(draw(iou)["mIoU"])
    half = 1.96 * iou.std() / np.sqrt(len(iou))
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (high + low) / 2 == pytest.approx(iou.mean(), abs=0.1 * half)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        low, high = bootstrap.interval(draw(rng.uniform(size=50), seed=seed, resamples=300)["mIoU"])
        hits += low <= 0.5 <= high
    assert 180 <= hits <= 198


def test_overall_iou_is_the_ratio_of_resampled_sums():
    # Two images, I/U = 10/10 and 0/30: a resample holds 0, 1 or 2 of the first.
    drawn = bootstrap.resample(
        np.array([10, 0]), np.array([10, 30]), np.array([1.0, 0.0]), ["a", "b"]
    )
    assert set(drawn["oIoU"]) == {0.0, 10 / 40, 1.0}
    assert set(drawn["mIoU"]) == {0.0, 0.5, 1.0}


def test_samples_of_one_image_are_drawn_together():
    iou = np.repeat(np.random.default_rng(2).uniform(size=50), 8)
    images = [str(i // 8) for i in range(len(iou))]
    together, apart = draw(iou, images)["mIoU"], draw(iou)["mIoU"]
    assert together.std() == pytest.approx(np.sqrt(8) * apart.std(), rel=0.1)


def test_the_seed_decides_the_draws():
    iou = np.linspace(0, 1, 9)
    np.testing.assert_array_equal(draw(iou, seed=3)["mIoU"], draw(iou, seed=3)["mIoU"])
    assert not np.array_equal(draw(iou, seed=3)["mIoU"], draw(iou, seed=4)["mIoU"])


def test_equal_draws_pair_two_models():
    iou = np.random.default_rng(3).uniform(0, 0.9, size=60)
    gain = draw(iou + 0.1)["mIoU"] - draw(iou)["mIoU"]
    np.testing.assert_allclose(gain, 0.1)


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="No sample was evaluated"):
        draw([])


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_only_empty_masks_score_by_protocol(score):
    nothing = np.zeros(3, int)
    drawn = bootstrap.resample(
        nothing, nothing, np.full(3, score), ["a", "b", "c"], empty_score=score
    )
    assert bootstrap.interval(drawn["oIoU"]) == bootstrap.interval(drawn["mIoU"]) == (score, score)
