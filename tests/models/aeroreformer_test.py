"""AeroReformer against the recorded outputs of the published code."""

import numpy as np
import pytest

from rrsis_jax.models.aeroreformer.decoder import AeroReformerDecoder
from rrsis_jax.models.aeroreformer.network import AeroReformerBackbone, AeroReformerNetwork
from rrsis_jax.models.aeroreformer.weights import rules
from rrsis_jax.models.lavt.weights import ENCODER_SKIPS
from tests.models import recordings, starts, trajectories


@pytest.fixture(scope="module", autouse=True)
def optimised_programs():
    """Compiling with all optimisations costs more here than running without them."""


def network(size, inner_dropout=0.1, routing_dropout=0.2, **types):
    return AeroReformerNetwork(
        backbone=AeroReformerBackbone(
            **recordings.SIZES[size], fusion_inner_dropout=inner_dropout, **types
        ),
        decoder=AeroReformerDecoder(routing_dropout=routing_dropout, **types),
        text_encoder=None,
    )


def recorded_maps(calls, outputs):
    """Names what the published modules return; see the recording."""
    maps = {"logits": outputs.aux["logits"], "coarse_logits": outputs.aux["coarse_logits"]}
    for number in range(1, 5):
        stage = f"backbone/layers_{number - 1}"
        size = calls[f"{stage}/fusion"].shape
        maps |= {
            f"feat{number}": calls["backbone"][number - 1],
            f"trunk{number}": calls[f"{stage}/trunk"],
            f"receptive{number}": calls[f"{stage}/spatial_weights"][..., 0],
            f"vis{number}": calls[f"{stage}/fusion/visual_map"].reshape(size),
            f"query{number}": calls[f"{stage}/fusion/query_map"].reshape(size),
            f"mha{number}": calls[f"{stage}/fusion/attention"].reshape(size),
            f"attended{number}": calls[f"{stage}/fusion/attended_map"].reshape(size),
            f"norm_attn{number}": calls[f"{stage}/fusion/norm_attn"].reshape(size),
            f"vla{number}": calls[f"{stage}/fusion/norm_ffn"].reshape(size),
            f"lat{number}": calls[f"decoder/lateral_{number}"],
        }
    for level in (1, 2, 3):
        attention = "pa1" if level == 1 else f"ca{level}"
        strength, angle = calls[f"decoder/turn_{level}/routing"]
        maps |= {
            f"up{level + 1}": calls[f"decoder/up_{level + 1}"],
            attention: calls[f"decoder/attention_{level}"],
            f"reduce{level + 1}": calls[f"decoder/reduce_{level}"],
            f"arc{level}_alpha": strength,
            f"arc{level}_angle": angle,
            f"arc{level}_out": calls[f"decoder/turn_{level}"],
            f"smooth{level}": calls[f"decoder/smooth_{level}"],
        }
    return maps


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_recorded_map(goldens, seeded, size):
    recording = recordings.load(goldens, seeded, f"aeroreformer_{size}")
    model = network(size)
    variables, skipped = recordings.import_exactly(model, recording, rules(20), ENCODER_SKIPS)
    assert skipped == set()
    maps = recordings.run(model, variables, recording, recorded_maps)
    recordings.assert_all_recorded(maps, recording, ("fusion_heads",))


def test_float64_training_follows_the_recorded_steps(goldens, seeded):
    arrays = dict(np.load(goldens / "aeroreformer_small_train64.npz"))
    # The same names and shapes as the small recording of the forward pass.
    manifest = goldens / "manifest_aeroreformer_small.json"
    model = network("small", 0.0, 0.0, dtype=np.float64, param_dtype=np.float64)
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
    model = AeroReformerNetwork(
        backbone=AeroReformerBackbone(8, (1, 1, 1, 1), (1, 1, 2, 2), 4),
        decoder=AeroReformerDecoder(),
        text_encoder=None,
    )
    laws = {
        **starts.SWIN,
        **starts.ROTATED,
        r".*/fusion/query_offset": starts.STANDARD,
        r".*/fusion/attention/in_kernel": starts.XAVIER,
        r".*/fusion/attention/(in_bias|out/bias)": starts.ZERO,
        r".*/fusion/attention/out/kernel": starts.NORMAL,
        r".*/fusion/\w+/(kernel|bias)": starts.UNIFORM,
        r"backbone/layers_\d/spatial_weights/.*_conv/kernel": starts.UNIFORM,
        r"decoder/attention_\d/gamma": starts.ZERO,
        r"decoder/(lateral|reduce|up|attention)_\d/.*(kernel|bias)": starts.UNIFORM,
        r"decoder/classifier/(kernel|bias)": starts.UNIFORM,
    }
    starts.assert_starts(model, laws, {"features": np.zeros((1, 3, 6)), "mask": np.ones((1, 3))})
