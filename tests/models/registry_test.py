import functools
import hashlib
import importlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.configuration import schema
from rrsis_jax.models import registry
from tests.conftest import random_variables

# Parameters of backbone, decoder and text encoder; and a digest of all paths and shapes, to be
# renewed with any deliberate change of the tree (which breaks existing checkpoints).
PINNED = {
    "lgce_refsegrs": (98_196_856, 56_477_698, 108_891_648, "414f2d5b4fe5ce84"),
    "lavt_refsegrs": (98_196_856, 20_651_010, 108_891_648, "0a9ae97037d67ccd"),
}


@pytest.fixture
def network_and_variables(config):
    model = registry.build(config)
    return model.network(), random_variables(model)


@pytest.mark.parametrize("name", PINNED)
def test_named_configs_keep_their_parameters(name):
    config = importlib.import_module(f"rrsis_jax.configs.{name}").get_config()
    shapes = registry.build(config).shapes()
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(shapes["params"][part]))
        for part in ("backbone", "decoder", "text_encoder")
    ]
    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    listing = "\n".join(f"{path} {leaf.shape} {leaf.dtype}" for path, leaf in sorted(flat.items()))
    digest = hashlib.sha256(listing.encode()).hexdigest()[:16]
    assert (*counts, digest) == PINNED[name], listing


def test_images_of_any_size_give_float32_log_odds_of_that_size(network_and_variables, inputs):
    network, variables = network_and_variables
    outputs = jax.jit(network.apply)(variables, *inputs)
    assert outputs.log_odds.shape == (2, 37, 50)
    assert outputs.log_odds.dtype == jnp.float32
    assert jnp.isfinite(outputs.log_odds).all()
    logits = outputs.aux["logits"]
    assert logits.shape == (2, 37, 50, 2)
    np.testing.assert_array_equal(outputs.log_odds, logits[..., 1] - logits[..., 0])


def test_segment_works_without_text_weights(network_and_variables, inputs):
    network, variables = network_and_variables
    images, text = inputs
    params = dict(variables["params"])
    encoded = network.apply(variables, text, method="encode_text")
    del params["text_encoder"]
    without = {"params": params, "batch_stats": variables["batch_stats"]}
    image = network.apply(without, images, method="encode_image")
    segment = jax.jit(lambda *args: network.apply(without, *args, method="segment").log_odds)
    whole = jax.jit(network.apply)(variables, *inputs).log_odds
    np.testing.assert_allclose(segment(image, encoded), whole, atol=1e-5)


def test_stage_outputs_halve_the_sides_rounding_up(config, inputs):
    model = registry.build(config)
    outputs = jax.eval_shape(model.network().apply, model.shapes(), *inputs)
    assert [stage.shape for stage in outputs.aux["stages"]] == [
        (2, 10, 13, 8),
        (2, 5, 7, 16),
        (2, 3, 4, 32),
        (2, 2, 2, 64),
    ]


def test_compute_type_reaches_every_part_and_parameters_stay_float32(config, inputs):
    config.model.dtype = "bfloat16"
    model = registry.build(config)
    variables = model.shapes()
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    apply = functools.partial(
        model.network().apply, capture_intermediates=True, mutable=["intermediates"]
    )
    outputs, captured = jax.eval_shape(apply, variables, *inputs)
    assert {stage.dtype for stage in outputs.aux["stages"]} == {jnp.dtype("bfloat16")}
    for exact in (outputs.log_odds, outputs.aux["coarse_logits"], outputs.aux["logits"]):
        assert exact.dtype == jnp.float32
    flat = flax.traverse_util.flatten_dict(captured["intermediates"], sep="/")
    assert flat.pop("__call__")  # the outputs above
    exact = ("text_encoder/", "decoder/__call__", "decoder/lavt/__call__")
    for path, values in flat.items():
        is_exact = path.startswith(exact) or "classifier/" in path
        expected = jnp.float32 if is_exact else jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(values)} == {jnp.dtype(expected)}, path


def test_parameter_type_reaches_every_part(config, inputs):
    network = registry.build(config).network()
    network = network.clone(
        backbone=network.backbone.clone(param_dtype=jnp.bfloat16),
        decoder=network.decoder.clone(param_dtype=jnp.bfloat16),
    )
    params = jax.eval_shape(network.init, jax.random.key(0), *inputs)["params"]
    for part in ("backbone", "decoder"):
        assert {leaf.dtype for leaf in jax.tree.leaves(params[part])} == {jnp.dtype("bfloat16")}


def test_names_of_the_backbone_tell_the_optimiser_what_decays(config):
    flat = flax.traverse_util.flatten_dict(
        registry.build(config).shapes()["params"]["backbone"], sep="/"
    )
    for path, leaf in flat.items():
        parent, name = path.split("/")[-2:]
        assert ("norm" in path) == ("norm" in parent), path
        if name == "scale":
            assert "norm" in parent, path
        if leaf.ndim == 2 and name != "kernel":
            assert name == "relative_position_bias_table", path


def test_every_wrong_value_is_named_at_once(config):
    config.model.vision.depths = (2, 2, 2)
    config.model.vision.num_heads = (3, 2, 2, 4)
    config.model.vision.drop_path_rate = 1.0
    config.model.text.num_attention_heads = 5
    config.model.text.max_tokens = 17
    with pytest.raises(ValueError, match=r"The model 'lgce' cannot be built:") as caught:
        registry.build(config)
    for sentence in (
        "vision.depths has 3 entries; give one for each of 4 stages",
        "vision.num_heads[0] is 3; it must divide the width 8",
        "vision.drop_path_rate is 1.0; it must be in [0, 1)",
        "text.num_attention_heads is 5; it must divide the width 12",
        "text.max_tokens is 17; it must be between 1 and text.max_position_embeddings (16)",
    ):
        assert sentence in str(caught.value)


def test_another_compute_type_is_refused(config):
    config.model.dtype = "float16"
    with pytest.raises(
        ValueError, match=r"model\.dtype is 'float16'; it must be one of float32, bfloat16"
    ):
        schema.check(config)


def test_an_unknown_model_is_refused_with_the_known_ones(config):
    config.model.name = "unet"
    message = (
        r"There is no model 'unet' \(model\.name\); known are aeroreformer, dicor, fianet, lavt"
    )
    for refuse in (registry.build, schema.check):
        with pytest.raises(ValueError, match=message):
            refuse(config)


def test_a_model_that_lies_elsewhere_is_known_once_it_is_added(monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    own = registry.names()
    assert {"lavt", "lgce", "rsrefseg"} <= set(own)
    registry.add("other", "rrsis_jax.models.lavt")
    assert registry.names() == sorted([*own, "other"])
    assert registry.rules("other") == registry.rules("lavt")
    registry.add("lgce", "rrsis_jax.models.lavt")  # the package's own keep their names
    assert "model.guide.live" in registry.rules("lgce")


def test_weights_are_recognised_by_names_that_only_their_model_has():
    assert registry.recognised(["backbone.norm0.weight", "classifier.msb1.x"]) == "lgce"
    assert registry.recognised(["backbone.norm0.weight", "classifier.conv1_1.bias"]) is None


def test_widths_that_the_cross_scale_block_cannot_split_are_refused(config):
    config.model.vision.embed_dim = 9
    config.model.vision.num_heads = (1, 1, 1, 1)
    with pytest.raises(ValueError, match="heads at stage 3 is 8; it must divide the width 36"):
        registry.build(config)


def test_exactly_what_reaches_no_logit_is_without_gradient(config, inputs):
    model = registry.build(config)
    apply = jax.jit(model.network().apply)
    variables = random_variables(model)
    flat = flax.traverse_util.flatten_dict(variables["params"])

    def is_reached_from(path):
        """Whether NaN in a parameter shows in the log-odds, through all that is computed of it."""
        poisoned = {**flat, path: np.full_like(flat[path], np.nan)}
        params = flax.traverse_util.unflatten_dict(poisoned)
        return bool(np.isnan(apply({**variables, "params": params}, *inputs).log_odds).any())

    still = {path for path in flat if not is_reached_from(path)}
    unused = model.without_gradient()
    assert still == {path for path in flat if any(path[: len(start)] == start for start in unused)}
    assert all(model.param_group(path) is None for path in still)
    config.model.guide.live = True
    assert model.without_gradient() == (("backbone", "layers_3", "gate"),)


def test_the_padding_word_does_not_learn(config, inputs):
    model, (_, text) = registry.build(config), inputs
    network, variables = model.network(), random_variables(model)

    def loss(params):
        encoded = network.apply({"params": params}, text, method="encode_text")
        return jnp.sum(encoded["features"] ** 3)  # of each token, for a norm fixes lesser moments

    gradient = jax.jit(jax.grad(loss))({"text_encoder": variables["params"]["text_encoder"]})
    words = gradient["text_encoder"]["bert"]["embeddings"]["word_embeddings"]["embedding"]
    assert not words[0].any()  # [PAD], which one of the phrases has
    assert words[text["input_ids"][1, 0]].any()
