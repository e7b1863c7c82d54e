import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.backbones.sam2 import hiera
from rrsis_jax.models.backbones.sam2.network import sine_positions, stable_mask
from tests.models.backbones import recordings


@pytest.fixture(scope="module")
def outputs():
    """All that was recorded, computed by one program."""
    golden = recordings.load("sam2_tiny")

    def run(sam2, image, sparse, mask, scale):
        maps = sam2.trunk(image)
        features = sam2.image_features(maps)
        dense = sam2.prompt_encoder.embed_mask(mask)
        decoded = sam2.decode(features, sparse, dense)
        scaled = decoded["masks"] * scale[:, None, None, None]
        chosen, stability = stable_mask(decoded["masks"], decoded["iou"])
        scaled_chosen, scaled_stability = stable_mask(scaled, decoded["iou"])
        return {
            "stage1": maps[0][:, ::4, ::4],
            "stage2": maps[1][:, ::2, ::2],
            "stage3": maps[2],
            "stage4": maps[3],
            "sam_stride4": features["stride4"],
            "sam_stride8": features["stride8"],
            "sam_image_embedding": features["stride16"],
            "image_pe": sam2.positions.grid(8, 8),
            "dense_masks": dense,
            "masks": decoded["masks"],
            "iou_scores": decoded["iou"],
            "object_score": decoded["object_score"],
            "masks_after_fallback": chosen,
            "stability": stability,
            "scaled_fallback_masks": scaled_chosen,
            "scaled_stability": scaled_stability,
        }

    inputs = (
        golden.image,
        recordings.seeded_array(tuple(golden.arrays["sparse_shape"]), golden.seed + 8),
        recordings.seeded_array((2, 32, 32, 1), golden.seed + 7),
        golden.arrays["mask_scale"].astype(np.float32),
    )
    outputs, inner = recordings.run(golden, run, *inputs)
    return {
        **outputs,
        "fpn_stride16": inner["neck"][2],
        "fpn_pos_stride16": sine_positions(8, 8, 32)[None],
    }


@pytest.mark.parametrize(
    "name",
    [
        *(f"stage{stage}" for stage in (1, 2, 3, 4)),
        "fpn_stride16",
        "fpn_pos_stride16",
        "sam_stride4",
        "sam_stride8",
        "sam_image_embedding",
        "image_pe",
        "dense_masks",
        "masks",
        "iou_scores",
        "object_score",
        "masks_after_fallback",
        "stability",
        "scaled_stability",
    ],
)
def test_computes_what_was_recorded(outputs, name):
    recordings.check(outputs[name], recordings.load("sam2_tiny").arrays[name])


def test_scaled_masks_take_the_recorded_side_of_the_fall_back(outputs):
    arrays = recordings.load("sam2_tiny").arrays
    scale = arrays["mask_scale"].astype(np.float32)[:, None, None, None]
    recordings.check(
        outputs["scaled_fallback_masks"] / scale, arrays["scaled_fallback_masks"] / scale
    )


def test_the_recording_has_both_sides_of_the_stability_threshold():
    stability = recordings.load("sam2_tiny").arrays["scaled_stability"]
    assert stability[0] < 0.98 <= stability[1]


def test_the_most_trusted_mask_stands_in_for_an_unstable_one():
    masks = np.full((3, 1, 100, 4), -1.0, np.float32)
    masks[..., 1:] = np.array([10.0, 20.0, 30.0])
    masks[0, 0, :98, 0] = 1.0
    masks[0, 0, 98:, 0] = 0.0  # 98 of 100 pixels stay: just stable
    masks[1, 0, :97, 0] = 1.0
    masks[1, 0, 97:, 0] = 0.0  # 97 of 100: not stable
    iou = np.array([[0.9, 0.1, 0.3, 0.2]] * 3, np.float32)  # the first guess does not count
    chosen, stability = stable_mask(jnp.asarray(masks), jnp.asarray(iou))
    np.testing.assert_allclose(stability, [0.98, 0.97, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(chosen[0], masks[0, ..., :1])
    np.testing.assert_array_equal(chosen[1], 20.0)
    np.testing.assert_array_equal(chosen[2], -1.0)  # an empty mask is stable


def test_the_first_block_of_a_stage_pools_and_has_the_window_of_the_stage_before():
    stages = hiera.block_fields(96, 1, (1, 2, 7, 2), (8, 4, 14, 7), (5, 7, 9))
    blocks = [block for stage in stages for block in stage]
    assert [block["window"] for block in blocks] == [8, 8, 4, 4, 14, 0, 14, 0, 14, 0, 14, 7]
    assert [i for i, block in enumerate(blocks) if block["pool"]] == [1, 3, 10]
    assert [stage[0]["width"] for stage in stages] == [96, 192, 384, 768]
    assert [stage[0]["num_heads"] for stage in stages] == [1, 2, 4, 8]


def test_an_image_that_windows_do_not_divide_is_refused():
    network = recordings.network("sam2_tiny")
    with pytest.raises(ValueError, match="100×128 pixels; expected sides that are multiples of 32"):
        jax.eval_shape(
            network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 100, 128, 3), jnp.float32)
        )
