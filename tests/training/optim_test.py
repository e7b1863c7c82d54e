"""Schedules, parameter groups and freezing."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from rrsis_jax.configs import default
from rrsis_jax.models import registry
from rrsis_jax.models.contract import Group
from rrsis_jax.training import optim
from rrsis_jax.weights import trees


def _config(**changes):
    config = default.get_config().optim
    config.update(changes)
    return config


def _model(name="lgce", **changes):
    config = default.get_config(name)
    config.update_from_flattened_dict(changes)
    return registry.build(config)


def _group(model, path):
    return model.param_group(tuple(path.split("/")))


def test_schedule_is_the_papers_polynomial():
    schedule = optim.build_schedule(_config(learning_rate=0.01), total_steps=10)
    expected = [0.01 * (1 - step / 10) ** 0.9 for step in range(11)]
    np.testing.assert_allclose([schedule(step) for step in range(11)], expected, rtol=1e-6)


def test_warm_up_rises_linearly_to_the_peak_and_then_decays():
    schedule = optim.build_schedule(_config(learning_rate=0.01, warmup_steps=4), total_steps=14)
    np.testing.assert_allclose([schedule(s) for s in (0, 2, 4)], [0.0, 0.005, 0.01], rtol=1e-6)
    np.testing.assert_allclose(schedule(9), 0.01 * 0.5**0.9, rtol=1e-6)


def test_a_cosine_falls_to_its_floor_by_the_end():
    """RSRefSeg's: from 1 % up to the peak, then down to 0.1 %."""
    config = _config(
        learning_rate=0.01, schedule="cosine", warmup_steps=10, warmup_start=0.01, floor=0.001
    )
    schedule = optim.build_schedule(config, total_steps=110)
    expected = [0.0001, 0.00505, 0.01, 0.005005, 0.00001]
    np.testing.assert_allclose([schedule(s) for s in (0, 5, 10, 60, 110)], expected, rtol=1e-5)


def test_a_cosine_may_begin_late_and_be_longer_than_the_run():
    """RSRefSeg 2's: constant for a tenth of the run, then a cosine that does not end in it."""
    config = _config(
        learning_rate=1.0, schedule="cosine", warmup_steps=4, hold=0.1, half_period=1.8, floor=0.01
    )
    schedule = optim.build_schedule(config, total_steps=100)
    expected = [0.5, 1, 1, 0.01 + 0.99 * (1 + np.cos(np.pi * 90 / 180)) / 2]
    np.testing.assert_allclose([schedule(s) for s in (2, 4, 10, 100)], expected, rtol=1e-6)


def test_a_drop_keeps_the_peak_until_its_share_of_the_run():
    config = _config(learning_rate=2.0, schedule="drop", hold=50 / 60, floor=0.1)
    schedule = optim.build_schedule(config, total_steps=600)
    np.testing.assert_allclose([schedule(s) for s in (0, 499, 500, 599)], [2, 2, 0.2, 0.2])


@pytest.mark.parametrize("changes", [{"schedule": "drop"}, {"schedule": "cosine", "hold": 0.01}])
def test_a_decay_that_begins_within_the_warm_up_is_refused(changes):
    with pytest.raises(ValueError, match=r"optim.hold is 0.*Set optim.hold to a share of .* 100"):
        optim.build_schedule(_config(warmup_steps=5, **changes), total_steps=100)


def test_a_key_that_the_schedule_does_not_have_is_refused():
    config = _config(schedule="drop", hold=0.5, half_period=0.2)
    with pytest.raises(ValueError, match=r"optim.half_period is 0.2, but the schedule 'drop' has"):
        optim.build_schedule(config, total_steps=10)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps is 10, but the run has 10 steps"):
        optim.build_schedule(_config(warmup_steps=10), total_steps=10)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("backbone/layers_0/blocks_0/norm1/scale", 0.0),
        ("backbone/layers_0/blocks_0/attn/relative_position_bias_table", 0.0),
        ("backbone/layers_0/blocks_0/attn/qkv/bias", 1.0),
        ("decoder/norm/scale", 1.0),
        ("text_encoder/encoder/layer/0/LayerNorm/scale", 1.0),
    ],
)
def test_only_the_backbones_norms_and_tables_are_spared_from_decay(path, expected):
    assert _group(_model(), path) == Group(rate=1.0, decay=expected)


def test_freezing_counts_encoder_layers():
    model = _model(**{"model.text.trained_layers": 2})
    assert _group(model, "backbone/layers_0/blocks_0/attn/qkv/kernel") is not None
    assert _group(model, "text_encoder/encoder/layer/1/kernel") is not None
    assert _group(model, "text_encoder/encoder/layer/2/kernel") is None
    assert _group(model, "text_encoder/embeddings/kernel") is None
    trained = _model(**{"model.text.trained_embeddings": True})
    assert _group(trained, "text_encoder/embeddings/kernel") is not None


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
    models = (_model(), _model(**{"model.guide.live": True}), _model("lavt"))
    assert tuple(_group(model, path) is not None for model in models) == optimised


def test_split_and_join_are_inverse():
    params = {"a": {"x": jnp.ones(2), "y": jnp.zeros(1)}, "b": jnp.ones(3)}
    model = types.SimpleNamespace(param_group=lambda p: None if p == ("a", "y") else Group())
    trained, kept = optim.split_frozen(params, model)
    assert set(trained) == {"a", "b"}
    assert set(trained["a"]) == {"x"}
    assert list(kept) == ["a"]
    joined = trees.join(trained, kept)
    assert joined["a"].keys() == params["a"].keys()
    np.testing.assert_array_equal(joined["b"], params["b"])


def tree(*paths, value=1.0):
    return traverse_util.unflatten_dict({tuple(p.split("/")): jnp.full(2, value) for p in paths})


def flat(params):
    return {"/".join(p): float(x[0]) for p, x in traverse_util.flatten_dict(params).items()}


def test_decay_is_decoupled_and_skips_the_spared():
    config = _config(learning_rate=0.1, weight_decay=0.5)
    optimizer = optim.build_optimizer(config, lambda step: 0.1, _model())
    norm, kernel = (
        f"backbone/layers_0/blocks_0/{name}" for name in ("norm1/scale", "attn/proj/kernel")
    )
    params, zeros = tree(norm, kernel), tree(norm, kernel, value=0.0)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert flat(updates) == {norm: 0.0, kernel: pytest.approx(-0.05)}


def test_clipping_limits_the_global_norm():
    config = _config(clip_norm=1.0, weight_decay=0.0)
    optimizer = optim.build_optimizer(config, lambda step: 1.0, _model())
    state = optimizer.init({"decoder": jnp.zeros(2)})
    gradients = {"decoder": jnp.array([30.0, 40.0])}
    _, state = optimizer.update(gradients, state, {"decoder": jnp.zeros(2)})
    np.testing.assert_allclose(state[1].mu["decoder"], [0.1 * 0.6, 0.1 * 0.8], rtol=1e-5)


def test_layers_learn_the_slower_the_deeper_they_lie():
    expected = {
        "backbone/patch_embed/kernel": 0.5**5,
        "backbone/layers_0/blocks_0/kernel": 0.5**4,
        "backbone/layers_0/blocks_1/kernel": 0.5**3,
        "backbone/layers_0/downsample/kernel": 0.5**3,
        "backbone/layers_1/blocks_0/kernel": 0.5**2,
        "backbone/layers_1/fusion/kernel": 0.5**2,
        "backbone/layers_3/blocks_0/kernel": 1.0,
        "backbone/norm1/scale": 1.0,
        "decoder/kernel": 1.0,
        "text_encoder/encoder/layer/0/kernel": 0.1,
    }
    groups = {"optim.groups.layer_decay": 0.5, "optim.groups.text_scale": 0.1}
    scaling = optim.scale_rates(_model(**groups, **{"model.vision.depths": (2, 1, 1, 1)}))
    params = tree(*expected)
    scaled, _ = scaling.update(params, scaling.init(params))
    assert flat(scaled) == pytest.approx(expected)


def test_the_rate_of_a_group_scales_its_decay_too():
    groups = {"optim.groups.text_scale": 0.1}
    config = _config(learning_rate=1.0, weight_decay=0.5)
    optimizer = optim.build_optimizer(config, lambda step: 1.0, _model(**groups))
    names = ("decoder/kernel", "text_encoder/encoder/layer/0/kernel")
    params, zeros = tree(*names), tree(*names, value=0.0)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    assert list(flat(updates).values()) == pytest.approx([-0.5, -0.05])


def test_block_ten_comes_after_block_nine():
    groups = {"optim.groups.layer_decay": 0.5, "model.vision.depths": (12, 1, 1, 1)}
    model = _model(**groups)
    rates = [_group(model, f"backbone/layers_0/blocks_{i}/kernel").rate for i in range(12)]
    assert rates == [0.5 ** (14 - i) for i in range(12)]


def test_decay_can_spare_all_but_matrices():
    model = _model(**{"optim.groups.decay_matrices_only": True})
    block = "backbone/layers_0/blocks_0"
    paths = {
        f"{block}/attn/qkv/kernel": 1.0,
        f"{block}/attn/qkv/bias": 0.0,
        "decoder/norm/scale": 0.0,
        f"{block}/attn/relative_position_bias_table": 0.0,
    }
    assert {path: _group(model, path).decay for path in paths} == paths
    words = _model(
        **{"optim.groups.decay_matrices_only": True, "model.text.trained_embeddings": True}
    )
    assert _group(words, "text_encoder/embeddings/word_embeddings/embedding").decay == 1.0
