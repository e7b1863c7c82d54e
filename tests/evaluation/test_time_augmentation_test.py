"""Averaging over views: an answer that moves with the image stays, one that does not is mixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.data import geometry, views
from rrsis_jax.evaluation import test_time_augmentation

WORDS = {"left": 1, "right": 2, "top": 3, "bottom": 4, "tree": 5, "turn": 6}


def tokenize(phrase):
    ids = [WORDS.get(word, 0) for word in phrase.split()]
    padded = np.array((ids + [0] * 4)[:4], np.int32)
    return {"input_ids": padded, "attention_mask": (np.arange(4) < len(ids)).astype(np.int32)}


def batch_of(phrases, chosen):
    found = [views.tokenize_views(phrase, tokenize, chosen) for phrase in phrases]
    return jax.tree.map(lambda *one: np.stack(one), *found)


def half_named(images, text):
    """Answers with the half of the image that the first word names, as the image shows it."""
    image, ids = images["image"], text["input_ids"]
    ramp, size = jnp.linspace(-3.0, 3.0, image.shape[1]), image.shape[1]
    sides = (0.0 * ramp, -ramp, ramp, -ramp[:, None], ramp[:, None])  # by token id
    answers = jnp.stack([jnp.broadcast_to(side, (size, size)) for side in sides])
    return answers[ids[:, 0]] + image[..., 0]


IMAGES = {"image": jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 3)), jnp.float32)}


@pytest.mark.parametrize("chosen", [geometry.FLIPS, geometry.ALL])
def test_an_answer_that_follows_phrase_and_image_is_left_as_it_is(chosen):
    phrases = ["left tree", "top"]
    batch = batch_of(phrases, chosen)
    plain = half_named(IMAGES, jax.tree.map(lambda x: x[:, 0], batch["text"]))
    averaged = test_time_augmentation.averaged_log_odds(half_named, IMAGES, batch, chosen)
    np.testing.assert_allclose(averaged, plain, rtol=2e-4, atol=2e-4)


def test_the_mean_is_taken_over_probabilities():
    def ramp(images, text):
        return jnp.broadcast_to(jnp.linspace(-3.0, 3.0, 6), (2, 6, 6))

    averaged = test_time_augmentation.averaged_log_odds(
        ramp, IMAGES, batch_of(["tree", "tree"], geometry.FLIPS), geometry.FLIPS
    )
    np.testing.assert_allclose(averaged, np.zeros((2, 6, 6)), atol=1e-5)


def test_a_phrase_that_cannot_be_turned_gets_the_plain_answer():
    phrases = ["turn left", "tree"]
    batch = batch_of(phrases, geometry.ALL)
    np.testing.assert_array_equal(batch["weight"], [[1] + [0] * 7, [1] * 8])

    def ramp(images, text):
        return jnp.broadcast_to(jnp.linspace(-3.0, 3.0, 6), (2, 6, 6))

    averaged = test_time_augmentation.averaged_log_odds(ramp, IMAGES, batch, geometry.ALL)
    np.testing.assert_allclose(averaged[0], ramp(IMAGES, None)[0], rtol=1e-4)
    np.testing.assert_allclose(averaged[1], np.zeros((6, 6)), atol=1e-5)
