"""RMSIN against the recorded outputs of the published code."""

import numpy as np
import pytest

from rrsis_jax.models.lavt.weights import ENCODER_SKIPS
from rrsis_jax.models.layers.rotated_convolution import rotation
from rrsis_jax.models.rmsin.network import RmsinBackbone, RmsinDecoder, RmsinNetwork
from rrsis_jax.models.rmsin.weights import rules
from tests.models import recordings, starts, trajectories


@pytest.fixture(scope="module", autouse=True)
def optimised_programs():
    """Compiling with all optimisations costs more here than running without them."""


def network(size, routing_dropout=0.2, **types):
    fields = recordings.SIZES[size]
    return RmsinNetwork(
        backbone=RmsinBackbone(**fields, **types),
        decoder=RmsinDecoder(4 * fields["embed_dim"], routing_dropout=routing_dropout, **types),
        text_encoder=None,
    )


def recorded_maps(calls, outputs):
    """Names what the published modules return; see the recording."""
    maps = {"logits": outputs.aux["logits"], "coarse_logits": outputs.aux["coarse_logits"]}
    for stage in range(4):
        maps[f"feat{stage + 1}"] = calls["backbone"][stage]
        maps[f"stage{stage + 1}"] = calls["decoder/cross_scale"][stage]
        weights = calls[f"backbone/layers_{stage}/spatial_weights"]
        maps[f"receptive{stage + 1}"] = weights[..., 0]
    attention = "decoder/mixer/attention1"
    maps |= {
        "trunk1": calls["backbone/layers_0/trunk"],
        "cim_down": calls["decoder/cross_scale/down"],
        "csa1_tokens": calls[f"{attention}/tokens"],
        "csa1_qkv": calls[f"{attention}/bn_qkv"],
        "csa1_conv_in": calls[f"{attention}/local"],
        "csa1_conv_out": calls[f"{attention}/local_conv"],
        "csa1_proj_in": calls[f"{attention}/attended"],
        "csa1_proj_out": calls[f"{attention}/proj"],
        "csa1_attended": calls[f"{attention}/out"],
        "cim_csa1": calls["decoder/mixer/attended1"],
        "cim_intra": calls["decoder/mixer/within"],
        "cim_csa2": calls["decoder/mixer/attended2"],
        "cim_ff": calls["decoder/mixer"],
        "cim_up": calls["decoder/cross_scale/up"],
    }
    for coarse in (4, 3, 2):
        turn = f"decoder/turn_c{coarse - 1}"
        maps[f"arc{coarse}_alpha"], maps[f"arc{coarse}_angle"] = calls[f"{turn}/routing"]
        maps[f"arc{coarse}_out"] = calls[turn]
    return maps


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_recorded_map(goldens, seeded, size):
    recording = recordings.load(goldens, seeded, f"rmsin_{size}")
    model = network(size)
    variables, skipped = recordings.import_exactly(model, recording, rules(20), ENCODER_SKIPS)
    assert skipped == set()
    maps = recordings.run(model, variables, recording, recorded_maps)
    recordings.assert_all_recorded(maps, recording, ("rotation_theta", "rotation_matrix"))


def test_kernels_turn_as_recorded(goldens):
    arrays = np.load(goldens / "rmsin_small.npz")
    matrices = rotation(arrays["rotation_theta"])
    np.testing.assert_allclose(matrices, arrays["rotation_matrix"], atol=1e-6)


def test_float64_training_follows_the_recorded_steps(goldens, seeded):
    arrays = dict(np.load(goldens / "rmsin_small_train64.npz"))
    manifest = goldens / "manifest_rmsin_small_train64.json"
    model = network("small", routing_dropout=0.0, dtype=np.float64, param_dtype=np.float64)
    ours = trajectories.follow(
        model,
        arrays,
        seeded.seeded_state_dict(manifest, int(arrays["seed"])),
        trajectories.batches_of(seeded, arrays, trajectories.features_of(seeded, arrays)),
        rules(20),
        ENCODER_SKIPS,
        trajectories.entropy_and_dice,
        {"ce": 0.9, "dice": 0.1},
    )
    trajectories.assert_followed(ours, arrays)


def test_every_class_of_parameter_starts_as_the_references():
    model = RmsinNetwork(
        backbone=RmsinBackbone(8, (1, 1, 1, 1), (1, 1, 2, 2), 4),
        decoder=RmsinDecoder(16),
        text_encoder=None,
    )
    laws = {
        **starts.SWIN,
        **starts.ROTATED,
        r"decoder/mixer/attention\d/(qkv|proj|out)/kernel": starts.NORMAL,
        r"decoder/mixer/attention\d/(proj|out)/bias": starts.ZERO,
        r"decoder/mixer/attention\d/(half|third|local_conv|point)/(kernel|bias)": starts.UNIFORM,
        r"decoder/mixer/(within_\d|feed_forward)/\w+/(kernel|bias)": starts.UNIFORM,
        r"backbone/layers_\d/fusion/\w+/(kernel|bias)": starts.UNIFORM,
        r"backbone/layers_\d/spatial_weights/.*_conv/kernel": starts.UNIFORM,
        r"decoder/cross_scale/.*(kernel|bias)": starts.UNIFORM,
        r"decoder/(join_c\d/conv|classifier)/(kernel|bias)": starts.UNIFORM,
    }
    starts.assert_starts(model, laws, {"features": np.zeros((1, 3, 6)), "mask": np.ones((1, 3))})
