"""RSRefSeg 2's recorded optimisation steps in float64, and what its training rests on."""

import functools
import math

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rrsis_jax.configs import default
from rrsis_jax.distributed import parallel
from rrsis_jax.models import published, registry
from rrsis_jax.models.rsrefseg2 import losses, network
from tests.goldens import seeded_weights
from tests.models import foundation_models
from tests.models import foundation_trajectories as trajectories
from tests.models.backbones import recordings

RECORDED_BEFORE = (
    "coarse_logits",
    "dense_prompts",
    "sparse_prompts",
    "text_queries1",
    "text_queries2",
)
SCALARS = {  # of the published head, at their first values; the recording's seeds do not draw them
    "decode_head.logit_scale1": np.full(1, np.log(1 / 0.07)),
    "decode_head.logit_scale2": np.full(1, np.log(1 / 0.07)),
    "decode_head.logit_bias1": np.full(1, np.log(0.5)),
    "decode_head.logit_bias2": np.full(1, np.log(0.5)),
}

NEVER_CALLED = ["decode_head.logit_scale1", "decode_head.logit_bias1"]


@pytest.fixture(scope="module")
def arrays():
    """The recording, without the two scalars that are never called."""
    recorded = dict(np.load(recordings.GOLDENS / "rsrefseg2_small_train64.npz"))
    called = ~np.isin(recorded["grad_names"], NEVER_CALLED)
    gradients = {name: recorded[name][called] for name in recorded if name.startswith("grad_")}
    return recorded | gradients


def recorded_config():
    """The configuration of the recorded network."""
    config = default.get_config("rsrefseg2")
    recorded = foundation_models.make_rsrefseg2()
    config.data.image_size = recorded.sam2.image_size
    for section, part in (
        (config.model.siglip, recorded.siglip),
        (config.model.sam2, recorded.sam2),
        (config.model.prompter, recorded.prompter),
    ):
        section.update({key: getattr(part, key) for key in section if hasattr(part, key)})
    config.model.siglip.pretrained = config.model.sam2.pretrained = ""
    config.model.siglip.max_tokens = 9
    config.model.lora.rank, config.model.lora.alpha = 4, 2.0
    config.model.scan = True  # compiles in less time
    return config


@pytest.fixture(scope="module")
def weights(arrays):
    manifest = recordings.GOLDENS / "manifest_rsrefseg2_small.json"
    return seeded_weights.seeded_state_dict(manifest, int(arrays["seed"])) | SCALARS


@pytest.fixture(scope="module")
def followed(arrays, weights):
    config = recorded_config()
    config.model.dtype = "float64"
    words = trajectories.padded_tokens(arrays, config.model.siglip.vocab_size, pad=0)
    batches = trajectories.batches_of(arrays, trajectories.scaled_image(arrays), words)
    with jax.enable_x64(True):
        return trajectories.follow(registry.build(config), weights, arrays, batches)


def test_outputs_of_the_first_step_are_the_recorded_ones(followed, arrays):
    aux = followed.first.aux
    for ours, name in (
        (followed.first.log_odds[:, ::2, ::2, None], "logits_step0"),
        *((aux[name], f"{name}_step0") for name in RECORDED_BEFORE),
    ):
        np.testing.assert_allclose(ours, arrays[name], atol=1e-7 * np.abs(arrays[name]).max())


def test_losses_are_the_recorded_ones(followed, arrays):
    np.testing.assert_allclose(followed.losses, arrays["losses"], rtol=1e-7)
    for ours, theirs, factor in (
        ("cross_entropy", "ce", 5.0),
        ("dice", "dice", 5.0),
        ("queries", "queries", 0.5),
        ("contrast", "contrast", 0.5),
    ):
        np.testing.assert_allclose(
            factor * followed.terms[ours], arrays[f"loss_{theirs}"], rtol=1e-7, err_msg=ours
        )


def test_gradients_and_what_has_none_are_the_recorded_ones(followed, arrays):
    trajectories.assert_gradients(followed, arrays)


def test_statistics_after_the_first_step_are_the_recorded_ones(followed, arrays):
    trajectories.assert_statistics(followed, arrays)


def test_outputs_after_the_last_step_are_the_recorded_ones(followed, arrays):
    last = followed.last
    for ours, name in (
        (last.log_odds[:, ::2, ::2, None], "logits"),
        (last.aux["all_masks"], "all_masks"),
        (last.aux["iou_scores"], "iou_scores"),
        (last.aux["stability"][:, None], "stability"),
    ):
        np.testing.assert_allclose(ours, arrays[f"eval_{name}_after"], atol=1e-6, err_msg=name)


def test_only_what_is_trained_moves(followed, arrays, weights):
    statistics = {name for name in weights if "running_" in name}
    frozen = weights.keys() - set(arrays["grad_names"]) - set(NEVER_CALLED) - statistics
    assert frozen <= followed.unmoved
    trained = set(arrays["grad_names"][~arrays["grad_is_none"]])
    assert not trained & followed.unmoved  # decay moves what has a gradient of 0


def test_weights_go_out_under_the_published_names_and_come_back(weights, tmp_path):
    model = registry.build(recorded_config())
    variables, _ = published.import_state_dict(weights, model)
    path = tmp_path / "weights.pth"
    published.export_weights(variables, model, path)
    section = torch.load(path, weights_only=True)["state_dict"]  # mmengine's
    counter = "prompter.dense_prompt_conv.1.num_batches_tracked"
    assert section.keys() == weights.keys() | {counter}
    for name, value in weights.items():
        np.testing.assert_allclose(section[name].numpy(), value, rtol=1e-7, err_msg=name)
    torch.save({"module": section, "ds_version": "0.17"}, path)  # DeepSpeed's
    returned, _ = published.import_weights(path, model)
    jax.tree.map(np.testing.assert_array_equal, returned, variables)


def test_without_adapters_names_are_those_of_plain_layers():
    config = recorded_config()
    config.model.lora.rank = 0
    plain = registry.build(config)
    flat = flax.traverse_util.flatten_dict(plain.shapes()["params"])
    assert not any(path[-1].startswith("lora_") for path in flat)
    names = {rule.source for rule in plain.table().rules}
    assert not any("lora_" in name or "base_layer" in name for name in names)


def test_the_contrastive_term_does_not_depend_on_the_number_of_devices():
    rng = np.random.default_rng(0)
    maps, text = (jnp.asarray(rng.normal(size=shape)) for shape in ((4, 3, 3, 6), (4, 6)))
    target = jnp.asarray(rng.integers(0, 2, (4, 8, 8)))

    def written_out(maps, text, scale):
        log_odds = jnp.exp(scale) * losses.image_vector(maps, target) @ text.T - 0.7
        return -sum(jnp.trace(jax.nn.log_softmax(log_odds, axis=axis)) for axis in (0, 1)) / 8

    def shared(devices, maps, text, scale):
        def share(maps, text, target):
            count = len(maps)
            vectors = losses.image_vector(maps, target), text
            scalars = jnp.broadcast_to(scale, count), jnp.full(count, -0.7)
            return jnp.sum(losses.contrast(*vectors, *scalars, parallel.gather_samples))

        split = [x.reshape(devices, -1, *x.shape[1:]) for x in (maps, text, target)]
        return jnp.sum(jax.vmap(share, axis_name=parallel.AXIS)(*split)) / 4

    def value_and_gradients(function):
        return jax.jit(jax.value_and_grad(function, (0, 1, 2)))(maps, text, jnp.float32(2.0))

    expected = value_and_gradients(written_out)
    for devices in (1, 2, 4):
        ours = value_and_gradients(functools.partial(shared, devices))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours, expected
        )


def test_a_target_too_small_for_the_map_is_a_zero_vector_with_a_finite_gradient():
    maps = jnp.ones((1, 3, 3, 2))

    def value(maps):
        vector = losses.image_vector(maps, jnp.zeros((1, 9, 9), jnp.uint8))
        term = losses.contrast(vector, vector, jnp.ones(1), jnp.ones(1), lambda tree: tree)
        return jnp.sum(term), vector

    gradient, vector = jax.grad(value, has_aux=True)(maps)
    np.testing.assert_array_equal(vector, 0.0)
    assert np.isfinite(gradient).all()


def test_shared_padding_is_that_of_the_longest_phrase():
    mask = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], np.int32)
    np.testing.assert_array_equal(network.to_the_longest(jnp.asarray(mask)), [[1, 1, 1, 0, 0]] * 2)


def test_the_published_network_has_its_parameters_and_optimises_those_with_a_gradient():
    """1,447.1 million, 97.9 million of them trainable (sum over called parts)."""
    config = default.get_config("rsrefseg2")
    config.data.image_size = 1024
    model = registry.build(config)
    shapes = flax.traverse_util.flatten_dict(model.shapes()["params"])
    sizes = {path: math.prod(spec.shape) for path, spec in shapes.items()}
    trainable = sum(size for path, size in sizes.items() if network.is_trained(path))
    optimised = sum(size for path, size in sizes.items() if model.param_group(path) is not None)
    counts = sum(sizes.values()), trainable, optimised
    assert counts == (1_447_126_453, 97_867_221, 97_389_776)


def test_encoders_may_learn_at_a_rate_of_their_own():
    config = recorded_config()
    config.optim.groups.sam2_encoder = 0.1
    config.optim.groups.siglip = 0.2
    model = registry.build(config)
    assert model.param_group(("sam2", "trunk", "blocks_0", "attn", "qkv", "kernel")).rate == 0.1
    assert model.param_group(("sam2", "trunk", "blocks_0", "attn", "qkv", "lora_a")).rate == 1.0
    assert model.param_group(("siglip", "text", "token_embed")).rate == 0.2
    assert model.param_group(("sam2", "positions", "matrix")) is None
    assert model.param_group(("siglip", "vision", "head", "probe")) is None
