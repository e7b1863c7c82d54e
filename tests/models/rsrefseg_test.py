import jax
import numpy as np
import pytest

from rrsis_jax.models.layers import interpolation
from tests.models import foundation_models as models


@pytest.fixture(scope="module")
def golden():
    return models.load_rsrefseg()


@pytest.fixture(scope="module")
def outputs(golden):
    """All that was recorded."""
    outputs, inner = models.run(golden)
    image, text = outputs["image"], outputs["text"]
    log_odds = outputs["log_odds"][..., None]
    size = golden.arrays["original_size"]
    places = np.asarray(inner["sam/positions"]).reshape(1, 7, 7, -1)
    return {
        **outputs,
        "sam_image_embedding": image["sam"],
        "clip_visual": image["siglip"],
        "clip_text": text["features"],
        "clip_text_pooled": text["pooled"],
        "prompter_channel": jax.nn.gelu(inner["prompter/channel_bn"], approximate=False) + places,
        "logits": log_odds,
        "prob_at_original_size": jax.nn.sigmoid(interpolation.resize(log_odds, *map(int, size))),
    }


@pytest.mark.parametrize(
    "name",
    [
        "sam_image_embedding",
        "clip_visual",
        "clip_text",
        "clip_text_pooled",
        "local_activation",
        "global_logit",
        "activated",
        "prompter_channel",
        "sparse_prompts",
        "dense_prompts",
        "coarse_logits",
        "logits",
        "prob_at_original_size",
    ],
)
def test_computes_what_was_recorded(golden, outputs, name):
    recorded = golden.arrays[name]
    assert outputs[name].shape == recorded.shape
    # PyTorch rounds the places that its resize reads; the worst difference is 5e-6 of the range.
    np.testing.assert_allclose(outputs[name], recorded, atol=1e-5 * np.abs(recorded).max())


def test_padding_changes_nothing(golden):
    outputs = models.check_padding(golden, real=4)
    words = np.asarray(outputs["local_activation"])[:, :4].mean(axis=1)[..., None]
    features = np.asarray(outputs["image"]["siglip"])
    by_word = outputs["activated"][..., : features.shape[-1]]
    np.testing.assert_allclose(by_word, features * (1 + words) / 2, atol=1e-5)
