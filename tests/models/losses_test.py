"""Losses against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np

from rrsis_jax.models import losses


def test_cross_entropy_is_that_of_the_softmax():
    log_odds = jnp.array([[[0.0, -3.0, 3.0]]])
    target = jnp.array([[[1, 0, 0]]])
    # ln 2 for a tie; ln(1 + e^-3) for a lead of 3 of the right class, ln(1 + e^3) of the wrong.
    expected = [[[np.log(2.0), np.log1p(np.exp(-3.0)), np.log1p(np.exp(3.0))]]]
    np.testing.assert_allclose(losses.cross_entropy(log_odds, target), expected, rtol=1e-6)


def test_cross_entropy_stays_finite_for_huge_log_odds():
    log_odds = jnp.array([[[-2e4]]])
    np.testing.assert_allclose(losses.cross_entropy(log_odds, jnp.array([[[1]]])), [[[2e4]]])


def test_pixel_weights_follow_the_class():
    weights = losses.pixel_weights(jnp.array([[[0, 1, 1]]]), (0.9, 1.1))
    np.testing.assert_allclose(weights, [[[0.9, 1.1, 1.1]]], rtol=1e-6)


def test_soft_dice_of_a_sure_prediction():
    sure = 50.0
    log_odds = jnp.array([[[sure, sure, -sure, -sure]]])
    target = jnp.array([[[1, 0, 0, 0]]])
    # One shared pixel of two predicted and one target pixel: 1 - (2 + 1) / (3 + 1).
    np.testing.assert_allclose(losses.soft_dice(log_odds, target), [0.25], atol=1e-6)


def test_soft_dice_of_nothing_predicted_for_nothing_is_zero():
    log_odds = jnp.array([[[-50.0]]])
    np.testing.assert_allclose(losses.soft_dice(log_odds, jnp.array([[[0]]])), [0.0], atol=1e-6)
