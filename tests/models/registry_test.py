import functools
import hashlib
import importlib

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.registry import build_model, variable_shapes, without_gradient

# Parameters of backbone, decoder and text encoder; and a digest of all paths and shapes, to be
# renewed with any deliberate change of the tree (which breaks existing checkpoints).
PINNED = {
    "lgce_refsegrs": (98_196_856, 56_477_698, 108_891_648, "414f2d5b4fe5ce84"),
    "lavt_refsegrs": (98_196_856, 20_651_010, 108_891_648, "0a9ae97037d67ccd"),
}


@pytest.fixture
def model_and_variables(config_model, inputs):
    model = build_model(config_model)
    return model, jax.jit(model.init)(jax.random.key(0), *inputs)


@pytest.mark.parametrize("name", PINNED)
def test_named_configs_keep_their_parameters(name):
    config = importlib.import_module(f"rrsis_jax.configs.{name}").get_config()
    shapes = variable_shapes(config.model)
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(shapes["params"][part]))
        for part in ("backbone", "decoder", "text_encoder")
    ]
    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    listing = "\n".join(f"{path} {leaf.shape} {leaf.dtype}" for path, leaf in sorted(flat.items()))
    digest = hashlib.sha256(listing.encode()).hexdigest()[:16]
    assert (*counts, digest) == PINNED[name], listing


def test_images_of_any_size_give_float32_logits_of_that_size(model_and_variables, inputs):
    model, variables = model_and_variables
    logits = jax.jit(model.apply)(variables, *inputs)
    assert logits.shape == (2, 37, 50, 2)
    assert logits.dtype == jnp.float32
    assert jnp.isfinite(logits).all()


def test_segment_works_without_text_weights(model_and_variables, inputs):
    model, variables = model_and_variables
    image, ids, mask = inputs
    params = dict(variables["params"])
    text = model.apply(variables, ids, mask, method="encode_text")
    del params["text_encoder"]
    without = {"params": params, "batch_stats": variables["batch_stats"]}
    segment = jax.jit(lambda *args: model.apply(without, *args, method="segment"))
    whole = jax.jit(model.apply)(variables, *inputs)
    np.testing.assert_allclose(segment(image, text, mask), whole, atol=1e-5)


def test_stage_outputs_halve_the_sides_rounding_up(model_and_variables, inputs):
    model, variables = model_and_variables
    image, _, mask = inputs
    features = jax.eval_shape(
        lambda *args: model.apply(*args, method="encode_image"),
        variables,
        image,
        jax.ShapeDtypeStruct((2, 8, 12), jnp.float32),
        mask,
    )
    assert [f.shape for f in features] == [
        (2, 10, 13, 8),
        (2, 5, 7, 16),
        (2, 3, 4, 32),
        (2, 2, 2, 64),
    ]


def test_compute_type_reaches_every_part_and_parameters_stay_float32(config_model, inputs):
    config_model.dtype = "bfloat16"
    model = build_model(config_model)
    variables = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    apply = functools.partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, captured = jax.eval_shape(apply, variables, *inputs)
    flat = flax.traverse_util.flatten_dict(captured["intermediates"], sep="/")
    exact = ("text_encoder/", "decoder/__call__", "decoder/lavt/__call__")
    for path, values in flat.items():
        is_exact = path.startswith(exact) or "classifier/" in path or path == "__call__"
        expected = jnp.float32 if is_exact else jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(values)} == {jnp.dtype(expected)}, path


def test_parameter_type_reaches_every_part(config_model, inputs):
    model = build_model(config_model)
    model = model.clone(
        backbone=model.backbone.clone(param_dtype=jnp.bfloat16),
        decoder=model.decoder.clone(param_dtype=jnp.bfloat16),
    )
    params = jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]
    for part in ("backbone", "decoder"):
        assert {leaf.dtype for leaf in jax.tree.leaves(params[part])} == {jnp.dtype("bfloat16")}


def test_names_of_the_backbone_tell_the_optimiser_what_decays(config_model):
    flat = flax.traverse_util.flatten_dict(
        variable_shapes(config_model)["params"]["backbone"], sep="/"
    )
    for path, leaf in flat.items():
        parent, name = path.split("/")[-2:]
        assert ("norm" in path) == ("norm" in parent), path
        if name == "scale":
            assert "norm" in parent, path
        if leaf.ndim == 2 and name != "kernel":
            assert name == "relative_position_bias_table", path


def test_every_wrong_value_is_named_at_once(config_model):
    config_model.decoder = "unet"
    config_model.dtype = "float16"
    config_model.vision.depths = (2, 2, 2)
    config_model.vision.num_heads = (3, 2, 2, 4)
    config_model.vision.drop_path_rate = 1.0
    config_model.text.num_attention_heads = 5
    config_model.text.max_tokens = 17
    with pytest.raises(ValueError, match=r"config\.model cannot be built") as caught:
        build_model(config_model)
    for sentence in (
        "decoder is 'unet'; choose one of ['lavt', 'lgce']",
        "dtype is 'float16'; choose one of ['bfloat16', 'float32']",
        "vision.depths has 3 entries; give one for each of 4 stages",
        "vision.num_heads[0] is 3; it must divide the width 8",
        "vision.drop_path_rate is 1.0; it must be in [0, 1)",
        "text.num_attention_heads is 5; it must divide the width 12",
        "text.max_tokens is 17; it must be between 1 and text.max_position_embeddings (16)",
    ):
        assert sentence in str(caught.value)


def test_widths_that_the_cross_scale_block_cannot_split_are_refused(config_model):
    config_model.vision.embed_dim = 9
    config_model.vision.num_heads = (1, 1, 1, 1)
    with pytest.raises(ValueError, match="heads at stage 3 is 8; it must divide the width 36"):
        build_model(config_model)


def test_exactly_what_reaches_no_logit_is_without_gradient(config_model, inputs):
    model, (image, ids, mask) = build_model(config_model), inputs
    rng = np.random.default_rng(0)
    shapes = variable_shapes(config_model)
    variables = {
        "params": jax.tree.map(lambda x: rng.normal(0.0, 0.2, x.shape), shapes["params"]),
        "batch_stats": jax.tree.map(lambda x: np.ones(x.shape), shapes["batch_stats"]),
    }
    variables = jax.tree.map(np.float32, variables)
    target = rng.standard_normal((*image.shape[:3], 2), dtype=np.float32)

    def loss(params):
        return jnp.sum(model.apply({**variables, "params": params}, image, ids, mask) * target)

    flat = flax.traverse_util.flatten_dict(jax.jit(jax.grad(loss))(variables["params"]))
    still = {path for path, leaf in flat.items() if not leaf.any()}
    unused = without_gradient(config_model)
    assert still == {path for path in flat if any(path[: len(start)] == start for start in unused)}
    words = flat["text_encoder", "bert", "embeddings", "word_embeddings", "embedding"]
    assert not words[0].any()  # [PAD], which one of the phrases has
    assert words[ids[1, 0]].any()
    config_model.guide.live = True
    assert without_gradient(config_model) == (("backbone", "layers_3", "gate"),)
