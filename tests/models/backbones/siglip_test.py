import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.backbones import recordings


@pytest.fixture(scope="module")
def outputs():
    """All that was recorded, and one text cut to its own length, computed by one program."""
    golden = recordings.load("siglip_tiny")
    length = int(golden.arrays["text_lengths"].min())

    def run(siglip, image, larger, ids, mask):
        vision, vision_pooled = siglip.encode_image(image)
        text, text_pooled = siglip.encode_text(ids)
        return {
            "vision": vision,
            "vision_pooled": vision_pooled,
            "vision_larger_image": siglip.encode_image(larger)[0],
            "text": text,
            "text_pooled": text_pooled,
            "logits_per_image": siglip.similarity(vision_pooled, text_pooled),
            "padded": siglip.encode_text(ids, mask),
            "cut": siglip.encode_text(ids[:, :length]),
        }

    ids = golden.arrays["token_ids"].astype(np.int32)
    mask = (np.arange(ids.shape[1])[None] < length).astype(np.int32).repeat(len(ids), axis=0)
    larger = recordings.seeded_array(tuple(golden.arrays["larger_image_shape"]), golden.seed + 7)
    outputs, inner = recordings.run(golden, run, golden.image, larger, ids, mask)
    for tower in ("vision", "text"):
        outputs[f"{tower}_layer0"] = inner[f"{tower}/layers_0"]
    return outputs


@pytest.mark.parametrize(
    "name",
    [
        "vision_layer0",
        "vision",
        "vision_pooled",
        "vision_larger_image",
        "text_layer0",
        "text",
        "text_pooled",
        "logits_per_image",
    ],
)
def test_computes_what_was_recorded(outputs, name):
    recordings.check(outputs[name], recordings.load("siglip_tiny").arrays[name])


def test_with_a_mask_padding_changes_nothing(outputs):
    (features, pooled), (cut, cut_pooled) = outputs["padded"], outputs["cut"]
    np.testing.assert_allclose(features[:, : cut.shape[1]], cut, atol=5e-6)
    np.testing.assert_allclose(pooled, cut_pooled, atol=5e-6)


def test_more_tokens_than_positions_are_refused():
    network = recordings.network("siglip_tiny")
    with pytest.raises(ValueError, match="got 17 tokens; expected at most 16"):
        jax.eval_shape(
            network.init,
            jax.random.key(0),
            jax.ShapeDtypeStruct((1, 48, 48, 3), jnp.float32),
            jax.ShapeDtypeStruct((1, 17), jnp.int32),
        )
