import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rrsis_jax.models.rsrefseg2.prompter import pool_words
from tests.models import foundation_models as models


@pytest.fixture(scope="module")
def golden():
    return models.load_rsrefseg2()


@pytest.fixture(scope="module")
def outputs(golden):
    """All that was recorded."""
    outputs, inner = models.run(golden)
    image, text = outputs["image"], outputs["text"]
    return {
        **outputs,
        "clip_visual": image["siglip"].reshape(2, 64, 24),
        "clip_text": text["features"],
        "clip_text_pooled": text["pooled"],
        "text_pool": pool_words(text["features"], text["mask"], 3),
        "refined_img1": inner["prompter/find_1_image"],
        "refined_text_queries1": inner["prompter/find_1_self"],
        "prompts": inner["prompter/outline_1_prompts_image"],
        "refined_img2": inner["prompter/outline_1_image"],
        "refined_text_queries2": inner["prompter/outline_1_self"],
        "sam_stride4": image["stride4"],
        "sam_stride8": image["stride8"],
        "sam_image_embedding": image["stride16"],
        "stability": outputs["stability"][:, None],
        "logits": outputs["log_odds"][..., None],
    }


@pytest.mark.parametrize(
    "name",
    [
        "clip_visual",
        "clip_text",
        "clip_text_pooled",
        "text_pool",
        "text_queries1",
        "text_queries2",
        "refined_img1",
        "refined_text_queries1",
        "prompts",
        "refined_img2",
        "refined_text_queries2",
        "sparse_prompts",
        "dense_map",
        "dense_prompts",
        "sam_stride4",
        "sam_stride8",
        "sam_image_embedding",
        "dense_embedding",
        "all_masks",
        "iou_scores",
        "object_score",
        "stability",
        "coarse_logits",
        "logits",
    ],
)
def test_computes_what_was_recorded(golden, outputs, name):
    recorded = golden.arrays[name]
    assert outputs[name].shape == recorded.shape
    np.testing.assert_allclose(outputs[name], recorded, atol=5e-6 * np.abs(recorded).max())


def test_training_keeps_the_first_mask(golden):
    def shapes(train):
        outputs, _ = jax.eval_shape(
            lambda v: golden.network.apply(
                v, golden.images, golden.text, train, mutable=["batch_stats"]
            ),
            golden.variables,
        )
        return outputs.aux

    assert "stability" in shapes(train=False)
    assert "stability" not in shapes(train=True)


def test_padding_changes_nothing(golden):
    models.check_padding(golden)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7])
def test_words_are_pooled_as_pytorch_pools_a_phrase_of_that_length(length):
    words = np.random.default_rng(0).standard_normal((1, 7, 2), dtype=np.float32)
    mask = (np.arange(7) < length)[None].astype(np.int32)
    theirs = torch.nn.functional.adaptive_avg_pool1d(
        torch.tensor(words[:, :length]).transpose(1, 2), 3
    )
    ours = pool_words(jnp.asarray(words), jnp.asarray(mask), 3)
    np.testing.assert_allclose(ours, theirs.transpose(1, 2).numpy(), atol=1e-6)
