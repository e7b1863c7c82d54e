import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.rs2sam2.fusion import SpaceAdapter
from tests.models import foundation_models as models


@pytest.fixture(scope="module")
def golden():
    return models.load_rs2sam2()


@pytest.fixture(scope="module")
def outputs(golden):
    """All that was recorded, but for losses."""
    outputs, inner = models.run(golden)
    trunk = inner["sam2/trunk"]
    return {
        **outputs,
        "beit3_layer0": np.concatenate(inner["beit3/layers_0"], axis=1),
        "beit3": np.concatenate(inner["beit3"], axis=1),
        "block0": inner["sam2/trunk/blocks_0"][0][:, ::2, ::2],
        "text_after_block0": inner["sam2/trunk/blocks_0"][1],
        "text_after_last_block": inner["sam2/trunk/blocks_7"][1],
        "stage1": trunk[0][:, ::2, ::2],
        "stage2": trunk[1],
        "stage3": trunk[2],
        "stage4": trunk[3],
        "fused_image_embedding_tokens": outputs["fused_image_embedding"].reshape(2, 64, 32),
        "sam_stride4": outputs["stride4"],
        "sam_stride8": outputs["stride8"],
        "mask_logits": outputs["mask_logits"][..., None],
    }


@pytest.mark.parametrize(
    "name",
    [
        "beit3_layer0",
        "beit3",
        "mask_token",
        "mask_prompt",
        "sentence_prompt",
        "text_features",
        "block0",
        "text_after_block0",
        "text_after_last_block",
        *(f"stage{stage}" for stage in (1, 2, 3, 4)),
        "fused_image_embedding_tokens",
        "sam_stride4",
        "sam_stride8",
        "sparse_prompts",
        "dense_prompts",
        "all_masks",
        "iou_scores",
        "object_score",
        "sentence_weight",
        "mask_logits",
    ],
)
def test_computes_what_was_recorded(golden, outputs, name):
    recorded = golden.arrays[name]
    assert outputs[name].shape == recorded.shape
    range_ = max(1.0, np.abs(recorded).max())
    np.testing.assert_allclose(outputs[name], recorded, atol=5e-6 * range_)


def test_decides_for_the_recorded_pixels(golden, outputs):
    area = np.sum(np.asarray(outputs["log_odds"]) > 0, axis=(1, 2))
    np.testing.assert_array_equal(area, golden.arrays["decision_area"])


def test_maps_do_not_read_padded_words():
    map_, text = jax.random.normal(jax.random.key(0), (1, 3, 3, 16)), jnp.ones((1, 4, 6))
    mask = jnp.array([[1, 1, 0, 0]])
    adapter = SpaceAdapter()
    variables = adapter.init(jax.random.key(1), map_, text, mask)
    variables = jax.tree.map(lambda x: 20 * x, variables)  # large enough to be seen in the map
    other = text.at[:, 2:].set(5.0)
    (first, words), (second, other_words) = (
        adapter.apply(variables, map_, phrase, mask) for phrase in (text, other)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(words[:, :2], other_words[:, :2])
    third, _ = adapter.apply(variables, map_, other, jnp.ones_like(mask))
    assert np.abs(third - second).max() > 1e-4
