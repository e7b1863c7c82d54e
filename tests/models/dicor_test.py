"""DiCoR against the recorded outputs of the published code."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.dicor import weights
from rrsis_jax.models.dicor.guide import Guide, strengthen, word_scales
from rrsis_jax.models.dicor.network import GUIDED, DicorDecoder, DicorNetwork
from rrsis_jax.models.dicor.refiner import Refiner
from rrsis_jax.models.lavt.backbone import Backbone
from rrsis_jax.models.layers.normalization import LayerNorm
from tests.models import recordings

# Wide enough that eight heads divide an eighth of all scales' channels.
FIELDS = {**recordings.SIZES["small"], "embed_dim": 32}
INPUTS = ("num_blocks", "input_ids", "refiner_base_channels")


@pytest.fixture(scope="module", autouse=True)
def optimised_programs():
    """Compiling with all optimisations costs more here than running without them."""


def coarse_network(depth, **types):
    return DicorNetwork(
        backbone=Backbone(**FIELDS, **types),
        decoder=DicorDecoder(4 * FIELDS["embed_dim"], depth, **types),
        text_encoder=None,
    )


def joint_network(size, depth, refiner_width, **types):
    fields = FIELDS if size == "small" else recordings.SIZES[size]
    return DicorNetwork(
        backbone=Backbone(**fields, **types),
        decoder=DicorDecoder(4 * fields["embed_dim"], depth, words=True, **types),
        text_encoder=None,
        guide=Guide(**types),
        text_norm=LayerNorm(**types),
        refiner=Refiner(refiner_width, **types) if refiner_width else None,
        stage="joint",
    )


def common_maps(calls, outputs):
    """Names what both networks have; see the recordings."""
    maps = {
        "logits": outputs.aux["logits"],
        "coarse_logits": outputs.aux["coarse_logits"],
        "vmsf_pooled": calls["decoder/scales/pooled"],
        "vmsf_down": calls["decoder/scales/down"],
        "vmsf_blocks": calls["decoder/mixer"],
        "vmsf_up": calls["decoder/scales/up"],
    }
    for number in range(1, 5):
        maps |= {
            f"feat{number}": calls["backbone"][number - 1],
            f"stage{number}": calls["decoder/scales"][number - 1],
        }
    for level in (3, 2, 1):
        maps[f"decoder{level + 1}"] = calls[f"decoder/lavt/join_c{level}"]
    return maps


def on_map(positions, like):
    """Gives positions (B, P, C) the rows and columns of a map."""
    return positions.reshape(*like.shape[:3], -1)


def test_every_recorded_map_of_the_coarse_network(goldens, seeded):
    recording = recordings.load(goldens, seeded, "dicor_coarse_small")
    model = coarse_network(int(recording.arrays["num_blocks"]))
    variables, skipped = recordings.import_exactly(
        model, recording, weights.coarse_rules(20), weights.SKIPS
    )
    assert skipped == set()

    def maps_of(calls, outputs):
        joint, block = calls["decoder/mixer"], "decoder/mixer/blocks_0"
        return common_maps(calls, outputs) | {
            "self_attended": on_map(calls[f"{block}/attention"], joint),
            "vmsf_block1": on_map(calls[block], joint),
        }

    maps = recordings.run(model, variables, recording, maps_of)
    recordings.assert_all_recorded(maps, recording, INPUTS)


def guided_maps(calls, outputs, text):
    """Names what the guide says."""
    guidance = outputs.aux["guidance"]
    places = guidance.candidates
    scales = word_scales(guidance, text["word_mask"])
    share = guidance.relative_map().mean(axis=(1, 2))
    counts = text["word_mask"].sum(axis=1)
    return {
        "evidence_hidden1": calls["guide/evidence/hidden1"],
        "evidence_logit": guidance.evidence,
        "winner_prior": jnp.einsum("bk,bkhw->bhw", guidance.probabilities(), places.maps),
        "winner_top1_map": guidance.winning(places.maps),
        "winner_top1_center": guidance.winning(places.centers),
        "cand_maps": places.maps,
        "cand_centers": places.centers,
        "cand_valid": places.valid.astype(np.float32),
        "peak_values": places.peaks,
        "raw_masses": places.masses,
        "cand_visual": guidance.visual,
        "cand_geometry": guidance.geometry,
        "scores": guidance.scores,
        "cand_probs": guidance.probabilities(),
        "content_score": guidance.content,
        "geo_score": guidance.position,
        "token_alpha": guidance.alpha,
        "token_scale": scales,
        "token_weight": ((scales - 1) / share[:, None] + 1) / counts[:, None] * text["word_mask"],
        "token_valid": text["word_mask"].astype(np.float32),
        "guided_text": calls["text_norm"],
    }


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_recorded_map_of_the_joint_network(goldens, seeded, size):
    recording = recordings.load(goldens, seeded, f"dicor_{size}")
    arrays = recording.arrays
    model = joint_network(size, int(arrays["num_blocks"]), int(arrays["refiner_base_channels"]))
    words = model.word_mask(arrays["input_ids"], recording.text["mask"])
    text = {**recording.text, "word_mask": np.asarray(words, np.int32)}
    recording = dataclasses.replace(recording, text=text)
    variables, skipped = recordings.import_exactly(
        model, recording, weights.joint_rules(20), weights.SKIPS
    )
    assert skipped == set()

    def maps_of(calls, outputs):
        joint, block = calls["decoder/mixer"], "decoder/mixer/blocks_0"
        maps = common_maps(calls, outputs) | guided_maps(calls, outputs, text)
        for name in ("enc1", "enc2", "enc3", "enc4", "bottleneck"):
            maps[f"refiner_{name}"] = calls[f"refiner/{name}"]
        for level in (1, 2, 3, 4):
            maps[f"refiner_up{level}"] = calls[f"refiner/dec{level}"]
        last = f"decoder/mixer/blocks_{int(arrays['num_blocks']) - 1}"
        return maps | {
            "guided_feat3": strengthen(calls["backbone"][GUIDED], outputs.aux["guidance"]),
            "text_from_image": calls[f"{block}/words_attention"],
            "text_after_block1": calls[block][1],
            "text_out": calls[last][1],
            "image_from_text": on_map(calls[f"{block}/image_attention"], joint),
            "image_after_text": on_map(calls[f"{block}/image_norm2"], joint),
            "self_attended": on_map(calls[f"{block}/scales/attention"], joint),
            "vmsf_block1": on_map(calls[block][0], joint),
            "coarse_upsampled": outputs.aux["upsampled"],
            "prompt": outputs.aux["prompt"],
            "delta_logits": outputs.aux["delta_logits"],
        }

    maps = recordings.run(model, variables, recording, maps_of)
    recordings.assert_all_recorded(maps, recording, INPUTS)
    for chosen in ("cand_centers", "cand_valid", "winner_top1_center", "token_valid"):
        np.testing.assert_array_equal(maps[chosen], arrays[chosen], err_msg=chosen)
