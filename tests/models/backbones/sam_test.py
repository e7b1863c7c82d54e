import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.backbones.sam.decoder import MaskDecoder
from tests.models.backbones import recordings


@pytest.fixture(scope="module")
def outputs():
    """All that was recorded, computed by one program."""
    golden = recordings.load("sam_tiny")

    def run(sam, image, points, labels, boxes, mask):
        embedding = sam.encode_image(image)
        sparse, dense = sam.encode_prompts(points, labels, mask=mask)
        decoded = sam.decode(embedding, sparse, dense)
        return {
            "image_embedding": embedding,
            "image_pe": sam.positions.grid(*embedding.shape[1:3]),
            "sparse_points": sparse,
            "dense_masks": dense,
            "sparse_boxes": sam.encode_prompts(boxes=boxes)[0],
            "masks": decoded["masks"],
            "iou_scores": decoded["iou"],
        }

    prompts = [golden.arrays[f"input_{name}"] for name in ("points", "labels", "boxes")]
    mask = recordings.seeded_array((2, 28, 28, 1), golden.seed + 7)
    outputs, inner = recordings.run(golden, run, golden.image, *prompts, mask)
    for index in (0, 1):
        outputs[f"layer{index}"] = inner[f"image_encoder/layers_{index}"]
    outputs["two_way0_tokens"] = inner["mask_decoder/layers_0"][0]
    return outputs


@pytest.mark.parametrize(
    "name",
    [
        "layer0",  # windows
        "layer1",  # the whole map
        "image_embedding",
        "image_pe",
        "sparse_points",
        "sparse_boxes",
        "dense_masks",
        "two_way0_tokens",
        "masks",
        "iou_scores",
    ],
)
def test_computes_what_was_recorded(outputs, name):
    recordings.check(outputs[name], recordings.load("sam_tiny").arrays[name])


def prompts_of(**prompts):
    """Encodes prompts without computing."""
    network = recordings.network("sam_tiny")
    variables = jax.eval_shape(
        network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 112, 112, 3), jnp.float32)
    )
    return jax.eval_shape(lambda v: network.apply(v, method="encode_prompts", **prompts), variables)


def test_a_box_takes_the_place_of_the_padding_point():
    points, labels = np.zeros((2, 3, 2), np.float32), np.ones((2, 3), np.int32)
    assert prompts_of(points=points, labels=labels)[0].shape == (2, 4, 24)
    sparse, dense = prompts_of(points=points, labels=labels, boxes=np.zeros((2, 4), np.float32))
    assert sparse.shape == (2, 5, 24)
    assert dense.shape == (2, 7, 7, 24)


def test_a_mask_alone_is_a_prompt():
    sparse, dense = prompts_of(mask=np.zeros((2, 28, 28, 1), np.float32))
    assert (sparse.shape, dense.shape) == ((2, 0, 24), (2, 7, 7, 24))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "there is no prompt; expected points with labels, boxes or a mask"),
        ({"points": np.zeros((1, 1, 2))}, "points and labels go together"),
        ({"mask": np.zeros((1, 56, 56, 1))}, r"came \(1, 56, 56, 1\); expected \(B, 28, 28, 1\)"),
    ],
)
def test_unfit_prompts_are_refused(prompts, message):
    with pytest.raises(ValueError, match=message):
        prompts_of(**prompts)


def test_another_image_size_is_refused():
    network = recordings.network("sam_tiny")
    with pytest.raises(ValueError, match="96×112 pixels; expected 112×112, the size its position"):
        jax.eval_shape(
            network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 96, 112, 3), jnp.float32)
        )


@pytest.mark.parametrize(("high_resolution", "finer"), [(True, 0), (True, 1), (False, 2)])
def test_finer_maps_are_those_that_the_decoder_reads(high_resolution, finer):
    decoder = MaskDecoder(high_resolution=high_resolution)
    maps = jnp.zeros((1 + 3 + finer, 1, 2, 2, 8))
    with pytest.raises(ValueError, match=f"got {finer} finer maps; expected"):
        decoder.init(jax.random.key(0), *maps)
