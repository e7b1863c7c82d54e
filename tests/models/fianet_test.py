"""FIANet against the recorded outputs of the published code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.fianet.network import (
    FianetBackbone,
    FianetDecoder,
    FianetNetwork,
    ObjectPositionAlignment,
)
from rrsis_jax.models.fianet.weights import SKIPS, inert_shapes, rules
from tests.models import recordings, starts, trajectories

WORDS = ("object", "position")


@pytest.fixture(scope="module", autouse=True)
def optimised_programs():
    """Compiling with all optimisations costs more here than running without them."""


def network(size, depth, text_encoder=None, **types):
    fields = recordings.SIZES[size]
    return FianetNetwork(
        backbone=FianetBackbone(**fields, **types),
        decoder=FianetDecoder(4 * fields["embed_dim"], depth, **types),
        text_encoder=text_encoder,
    )


def recorded_maps(calls, outputs):
    """Names what the published modules return; see the recording."""
    decoder = "decoder/scales"
    maps = {
        "logits": outputs.aux["logits"],
        "coarse_logits": outputs.aux["coarse_logits"],
        "tmem_pooled": calls[f"{decoder}/pooled"],
        "tmem_down": calls[f"{decoder}/down"],
        "tmem_attended": calls["decoder/mixer/blocks_0/attention"],
        "tmem_block1": calls["decoder/mixer/blocks_0"],
        "tmem_blocks": calls["decoder/mixer"],
        "tmem_up": calls[f"{decoder}/up"],
    }
    for number in range(1, 5):
        stage = f"backbone/layers_{number - 1}"
        maps |= {
            f"feat{number}": calls["backbone"][number - 1],
            f"stage{number}": calls[decoder][number - 1],
            f"channel_gate{number}": calls[f"{stage}/channels"][:, 0, 0],
            f"context{number}": calls[f"{stage}/fusion"],
            f"context_gate{number}": calls[f"{stage}/gate"],
            f"object_attended{number}": calls[f"{stage}/alignment/object_attention"],
            f"object_gate{number}": calls[f"{stage}/alignment/object_gate"],
            f"position_attended{number}": calls[f"{stage}/alignment/position_attention"],
            f"position_map{number}": calls[f"{stage}/alignment/position_map"][..., 0],
            f"aligned{number}": calls[f"{stage}/alignment"],
            f"trunk{number}": calls[f"{stage}/trunk"],
        }
    for level in (3, 2, 1):
        maps[f"decoder{level + 1}"] = calls[f"decoder/lavt/join_c{level}"]
    return maps


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_recorded_map(goldens, seeded, size):
    recording = recordings.load(goldens, seeded, f"fianet_{size}", WORDS)
    model = network(size, int(recording.arrays["num_tmem"]))
    variables, skipped = recordings.import_exactly(model, recording, rules(20), SKIPS)
    width = recordings.SIZES[size]["embed_dim"]
    assert inert_shapes(width) == {name: recording.state_dict[name].shape for name in skipped}
    maps = recordings.run(model, variables, recording, recorded_maps)
    recordings.assert_all_recorded(maps, recording, ("num_tmem", "object_mask", "position_mask"))


@pytest.mark.parametrize("text", ["small", "bert"])
def test_float64_training_follows_the_recorded_steps(goldens, seeded, text):
    """From given text features, and from the words by three passes of BERT."""
    arrays = dict(np.load(goldens / f"fianet_{text}_train64.npz"))
    seed, fields = int(arrays["seed"]), {"dtype": np.float64, "param_dtype": np.float64}
    weights = seeded.seeded_state_dict(goldens / "manifest_fianet_small_train64.json", seed)
    text_of = trajectories.features_of(seeded, arrays, WORDS)
    if text == "bert":
        bert, weights_of_bert = trajectories.small_bert(goldens, seeded, seed)
        weights |= weights_of_bert
        fields["text_encoder"] = bert
        masks = [f"{words}_mask" for words in WORDS]
        text_of = trajectories.tokens_of(arrays, bert.vocab_size, masks)
    ours = trajectories.follow(
        network("small", int(arrays["num_tmem"]), **fields),
        arrays,
        weights,
        trajectories.batches_of(seeded, arrays, text_of),
        rules(20),
        SKIPS,
        trajectories.entropy_and_dice,
        {"ce": 0.9, "dice": 0.1},
        method="__call__" if text == "bert" else "segment",
    )
    trajectories.assert_followed(ours, arrays)


def test_every_class_of_parameter_starts_as_the_references():
    model = FianetNetwork(
        backbone=FianetBackbone(8, (1, 1, 1, 1), (1, 1, 2, 2), 4),
        decoder=FianetDecoder(16),
        text_encoder=None,
    )
    laws = {
        **starts.SWIN,
        r"backbone/layers_\d/channels/fc\d/kernel": starts.NORMAL,
        r"backbone/layers_\d/channels/fc\d/bias": starts.ZERO,
        r"backbone/layers_\d/(fusion|alignment)/.*(kernel|bias)": starts.UNIFORM,
        r"decoder/mixer/blocks_0/attention/\w+/(kernel|bias)": starts.UNIFORM,
        r"decoder/(scales|lavt)/.*(kernel|bias)": starts.UNIFORM,
    }
    features, mask = np.zeros((1, 3, 6)), np.ones((1, 3))
    text = {"features": features, "mask": mask}
    for words in WORDS:
        text |= {f"{words}_features": features, f"{words}_mask": mask}
    starts.assert_starts(model, laws, text)


def test_an_object_of_one_word_says_nothing_and_has_finite_gradients():
    rng = np.random.default_rng(0)
    x, words = rng.standard_normal((2, 2, 3, 8)), rng.standard_normal((2, 4, 6))
    mask = np.array([[0, 1, 1, 0], [0, 1, 0, 0]])
    text = {f"{kind}_features": words for kind in WORDS} | {f"{kind}_mask": mask for kind in WORDS}
    module = ObjectPositionAlignment()
    variables = jax.jit(module.init)(jax.random.key(0), x, text)

    @jax.jit
    def run(variables):
        aligned = module.apply(variables, x, text)
        return jnp.sum(aligned**2), aligned

    (_, aligned), gradients = jax.value_and_grad(run, has_aux=True)(variables)
    assert np.abs(aligned[0]).max() > 1e-3
    assert np.abs(aligned[1]).max() < 1e-6
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))
