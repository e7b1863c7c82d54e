"""Schedules, parameter groups and freezing."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from rrsis_jax.configs import default
from rrsis_jax.training import optim, train_step
from rrsis_jax.weights import trees


def _config(**changes):
    config = default.get_config().optim
    config.update(changes)
    return config


def test_schedule_is_the_papers_polynomial():
    schedule = optim.build_schedule(_config(learning_rate=0.01), total_steps=10)
    expected = [0.01 * (1 - step / 10) ** 0.9 for step in range(11)]
    np.testing.assert_allclose([schedule(step) for step in range(11)], expected, rtol=1e-6)


def test_warm_up_rises_linearly_to_the_peak_and_then_decays():
    schedule = optim.build_schedule(_config(learning_rate=0.01, warmup_steps=4), total_steps=14)
    np.testing.assert_allclose([schedule(s) for s in (0, 2, 4)], [0.0, 0.005, 0.01], rtol=1e-6)
    np.testing.assert_allclose(schedule(9), 0.01 * 0.5**0.9, rtol=1e-6)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps is 10, but the run has 10 steps"):
        optim.build_schedule(_config(warmup_steps=10), total_steps=10)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("backbone/layers_0/blocks_0/norm1/scale", False),
        ("backbone/layers_0/blocks_0/attn/relative_position_bias_table", False),
        ("backbone/layers_0/blocks_0/attn/qkv/bias", True),
        ("decoder/norm/scale", True),
        ("text_encoder/encoder/layer/0/LayerNorm/scale", True),
    ],
)
def test_only_the_backbones_norms_and_tables_are_spared_from_decay(path, expected):
    assert optim.decays(tuple(path.split("/"))) is expected


def test_freezing_counts_encoder_layers():
    frozen = optim.frozen_text(trained_layers=2, trained_embeddings=False)
    assert not frozen(("backbone", "x"))
    assert not frozen(("text_encoder", "encoder", "layer", "1", "kernel"))
    assert frozen(("text_encoder", "encoder", "layer", "2", "kernel"))
    assert frozen(("text_encoder", "embeddings", "kernel"))
    assert not optim.frozen_text(2, True)(("text_encoder", "embeddings", "kernel"))


@pytest.mark.parametrize(
    ("path", "optimised"),
    [
        ("backbone/layers_3/gate/fc1/kernel", (False, False, False)),
        ("backbone/layers_2/gate/fc1/kernel", (True, True, True)),
        ("decoder/cross_scale/fine_to_coarse/go/linear/kernel", (False, True, True)),
        ("decoder/cross_scale/coarse_to_fine/norm/scale", (False, True, True)),
        ("decoder/cross_scale/fine_blocks_0/attn/qkv/kernel", (True, True, True)),
        ("text_encoder/bert/encoder/layer/11/output/dense/kernel", (False, False, False)),
    ],
)
def test_what_reaches_no_logit_is_neither_moved_nor_decayed(path, optimised):
    configs = [default.get_config().model for _ in range(3)]
    configs[1].guide.live = True
    configs[2].decoder = "lavt"
    frozen = [train_step.make_frozen(config)(tuple(path.split("/"))) for config in configs]
    assert tuple(not value for value in frozen) == optimised


def test_split_and_join_are_inverse():
    params = {"a": {"x": jnp.ones(2), "y": jnp.zeros(1)}, "b": jnp.ones(3)}
    trained, kept = optim.split_frozen(params, lambda path: path == ("a", "y"))
    assert set(trained) == {"a", "b"}
    assert list(kept) == ["a"]
    joined = trees.join(trained, kept)
    assert joined["a"].keys() == params["a"].keys()
    np.testing.assert_array_equal(joined["b"], params["b"])


def test_decay_is_decoupled_and_skips_the_spared():
    config = _config(learning_rate=0.1, weight_decay=0.5)
    optimizer = optim.build_optimizer(config, lambda step: 0.1)
    params = {"backbone": {"norm": jnp.ones(1), "proj": jnp.ones(1)}}
    zeros = {"backbone": {"norm": jnp.zeros(1), "proj": jnp.zeros(1)}}
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    np.testing.assert_allclose(updates["backbone"]["norm"], [0.0])
    np.testing.assert_allclose(updates["backbone"]["proj"], [-0.05], rtol=1e-6)


def test_clipping_limits_the_global_norm():
    optimizer = optim.build_optimizer(_config(clip_norm=1.0, weight_decay=0.0), lambda step: 1.0)
    params = {"w": jnp.zeros(2)}
    state = optimizer.init(params)
    _, state = optimizer.update({"w": jnp.array([30.0, 40.0])}, state, params)
    mu = state[1][0].mu["w"]
    np.testing.assert_allclose(mu, [0.1 * 0.6, 0.1 * 0.8], rtol=1e-5)


def tree(*paths):
    return traverse_util.unflatten_dict({tuple(p.split("/")): jnp.ones(2) for p in paths})


def test_layers_learn_the_slower_the_deeper_they_lie():
    params = tree(
        "backbone/patch_embed/kernel",
        "backbone/layers_0/blocks_0/kernel",
        "backbone/layers_0/blocks_1/kernel",
        "backbone/layers_0/downsample/kernel",
        "backbone/layers_1/blocks_0/kernel",
        "backbone/layers_1/fusion/kernel",
        "backbone/norm1/scale",
        "decoder/kernel",
        "text_encoder/kernel",
    )
    scaling = optim.scale_layers(layer_decay=0.5, text_scale=0.1)
    scaled, _ = scaling.update(params, scaling.init(params))
    factors = {"/".join(p): float(x[0]) for p, x in traverse_util.flatten_dict(scaled).items()}
    assert factors == pytest.approx(
        {
            "backbone/patch_embed/kernel": 0.125,
            "backbone/layers_0/blocks_0/kernel": 0.25,
            "backbone/layers_0/blocks_1/kernel": 0.5,
            "backbone/layers_0/downsample/kernel": 0.5,
            "backbone/layers_1/blocks_0/kernel": 1.0,
            "backbone/layers_1/fusion/kernel": 1.0,
            "backbone/norm1/scale": 1.0,
            "decoder/kernel": 1.0,
            "text_encoder/kernel": 0.1,
        }
    )


def test_block_ten_comes_after_block_nine():
    paths = [f"backbone/layers_0/blocks_{i}/kernel" for i in range(12)]
    numbers = optim.block_numbers(tree(*paths))
    assert [numbers[tuple(path.split("/"))] for path in paths] == list(range(1, 13))


def test_decay_can_spare_all_but_matrices():
    params = tree("a/kernel", "a/bias", "b/scale", "c/relative_position_bias_table", "d/embedding")
    marked = traverse_util.flatten_dict(optim.matrix_mask(params), sep="/")
    assert {path for path, decays in marked.items() if decays} == {"a/kernel", "d/embedding"}
