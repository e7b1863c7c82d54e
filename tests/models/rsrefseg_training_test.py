"""RSRefSeg's recorded optimisation steps in float64."""

import jax
import numpy as np
import pytest

from rrsis_jax.models import registry
from tests.goldens import seeded_weights
from tests.models import foundation_models as models
from tests.models import foundation_trajectories as trajectories
from tests.models.backbones import recordings


@pytest.fixture(scope="module")
def arrays():
    return dict(np.load(recordings.GOLDENS / "rsrefseg_small_train64.npz"))


@pytest.fixture(scope="module")
def followed(arrays):
    config = models.rsrefseg_config()
    config.model.dtype = "float64"
    manifest = recordings.GOLDENS / "manifest_rsrefseg_small.json"
    weights = seeded_weights.seeded_state_dict(manifest, int(arrays["seed"]))
    words = trajectories.padded_tokens(arrays, config.model.siglip.vocab_size, pad=1)
    batches = trajectories.batches_of(arrays, trajectories.scaled_image(arrays), words)
    with jax.enable_x64(True):
        return trajectories.follow(registry.build(config), weights, arrays, batches)


def test_outputs_of_the_first_step_are_the_recorded_ones(followed, arrays):
    aux = followed.first.aux
    for ours, name in (
        (followed.first.log_odds[..., None], "logits_step0"),
        (aux["coarse_logits"], "coarse_logits_step0"),
        (aux["sparse_prompts"], "sparse_prompts_step0"),
    ):
        np.testing.assert_allclose(ours, arrays[name], atol=1e-7 * np.abs(arrays[name]).max())


def test_losses_are_the_recorded_ones(followed, arrays):
    np.testing.assert_allclose(followed.losses, arrays["losses"], rtol=1e-7)


def test_gradients_and_what_has_none_are_the_recorded_ones(followed, arrays):
    trajectories.assert_gradients(followed, arrays)


def test_statistics_after_the_first_step_are_the_recorded_ones(followed, arrays):
    trajectories.assert_statistics(followed, arrays)


def test_outputs_after_the_last_step_are_the_recorded_ones(followed, arrays):
    ours = followed.last.log_odds[..., None]
    np.testing.assert_allclose(ours, arrays["eval_logits_after"], atol=1e-6)
