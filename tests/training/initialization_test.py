"""Where parameters come from: given checkpoint, pretrained parts, random numbers, in this order."""

import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rrsis_jax.configuration import run_folder
from rrsis_jax.models import published, registry
from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.swin import weights as swin_weights
from rrsis_jax.training import initialization
from rrsis_jax.weights import mapping, runs, state_dicts, trees, variable_folder
from tests import small_config
from tests.conftest import random_variables
from tests.stand_ins.tiny.model import Tiny
from tests.tiny_config import get_config as make_tiny_config

NORMAL, UNIFORM, ONE, ZERO = "normal 0.02", "uniform within 1 / sqrt(fan-in)", "1", "0"
SWIN, CROSS = r"backbone/layers_\d/blocks_\d", r"decoder/cross_scale"
# Each class of parameter as the reference's training script starts it, measured on its code.
STARTS = {
    r"backbone/layers_\d/gate/fc1/kernel": NORMAL,
    r"backbone/layers_\d/gate/fc2/kernel": NORMAL,
    rf"{SWIN}/attn/qkv/kernel": NORMAL,
    rf"{SWIN}/attn/proj/kernel": NORMAL,
    rf"{SWIN}/attn/relative_position_bias_table": NORMAL,
    rf"{SWIN}/mlp/fc1/kernel": NORMAL,
    rf"{SWIN}/mlp/fc2/kernel": NORMAL,
    rf"{SWIN}/(attn|mlp)/\w+/bias": ZERO,
    r"backbone/layers_\d/downsample/reduction/kernel": NORMAL,
    r"backbone/patch_embed/proj/kernel": UNIFORM,
    r"backbone/patch_embed/proj/bias": UNIFORM,
    r"backbone/layers_\d/fusion/\w+/kernel": UNIFORM,
    r"backbone/layers_\d/fusion/\w+/bias": UNIFORM,
    r"decoder/guide_c\d/kernel": UNIFORM,
    r"decoder/guide_c\d/bias": UNIFORM,
    rf"{CROSS}/\w+_blocks_\d/attn/qkv/kernel": UNIFORM,
    rf"{CROSS}/\w+_blocks_\d/attn/proj/kernel": UNIFORM,
    rf"{CROSS}/\w+_blocks_\d/attn/proj/bias": UNIFORM,
    rf"{CROSS}/\w+_blocks_\d/mlp/fc\d/kernel": UNIFORM,
    rf"{CROSS}/\w+_blocks_\d/mlp/fc\d/bias": UNIFORM,
    rf"{CROSS}/\w+_to_\w+/attn/(query|key|value)/kernel": UNIFORM,
    rf"{CROSS}/\w+_to_\w+/attn/proj/(kernel|bias)": UNIFORM,
    rf"{CROSS}/\w+_to_\w+/(go|back)/linear/kernel": UNIFORM,
    rf"{CROSS}/\w+_to_\w+/(go|back)/linear/bias": UNIFORM,
    r"decoder/(lavt/)?join_c\d/block\d/conv/kernel": UNIFORM,
    r"decoder/(lavt/)?classifier/(kernel|bias)": UNIFORM,
    r"(backbone|decoder)/.*(norm\d?|bn)/scale": ONE,
    r"(backbone|decoder)/.*(norm\d?|bn)/bias": ZERO,
    r"text_encoder/.*_embeddings/embedding": NORMAL,
    r"text_encoder/.*/kernel": NORMAL,
    r"text_encoder/.*/bias": ZERO,
    r"text_encoder/.*LayerNorm/scale": ONE,
}


@pytest.fixture(scope="module")
def drawn():
    """Variables of the tiny configuration, drawn from key 0."""
    config = make_tiny_config()
    return initialization.initial_variables(config, registry.build(config), key(0))


@pytest.fixture
def scratch(tiny_config, drawn):
    """The configuration, its model and variables drawn from key 0."""
    return tiny_config, registry.build(tiny_config), drawn


def key(seed):
    return jax.random.PRNGKey(seed)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_seed_decides(scratch):
    config, model, variables = scratch
    assert_same(initialization.initial_variables(config, model, key(0)), variables)
    other = initialization.initial_variables(config, model, key(1))
    name = ("decoder", "lavt", "classifier", "kernel")
    ours, theirs = variables["params"], other["params"]
    for part in name:
        ours, theirs = ours[part], theirs[part]
    assert np.any(ours != theirs)


def test_an_imported_folder_wins_over_random_numbers(scratch, tmp_path):
    config, model, variables = scratch
    given = jax.tree.map(lambda x: x + 1.0, variables)
    variable_folder.save(tmp_path, given)
    config.init_from = (str(tmp_path),)
    assert_same(initialization.initial_variables(config, model, key(1)), given)


def test_a_checkpoint_file_without_text_keeps_the_drawn_text_encoder(scratch, tmp_path):
    config, model, variables = scratch
    given = jax.tree.map(lambda x: x + 1.0, variables)
    without_text = {k: v for k, v in given["params"].items() if k != "text_encoder"}
    state_dict, _ = published.export_state_dict({**given, "params": without_text}, model)
    path = tmp_path / "lgce.safetensors"
    state_dicts.write_state_dict(str(path), state_dict)
    config.init_from = (str(path),)
    found = initialization.initial_variables(config, model, key(0))
    assert_same(found["params"]["backbone"], given["params"]["backbone"])
    assert_same(found["params"]["decoder"], given["params"]["decoder"])
    assert_same(found["batch_stats"], given["batch_stats"])
    assert_same(found["params"]["text_encoder"], variables["params"]["text_encoder"])


def test_a_file_that_is_not_there_is_refused(scratch, tmp_path):
    config, model, _ = scratch
    config.init_from = (str(tmp_path / "nowhere.pth"),)
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        initialization.initial_variables(config, model, key(0))


@pytest.fixture
def halves(tmp_path):
    """The stand-in, its variables, and two folders that hold one part of them each."""
    model = registry.build(small_config.get_config())
    variables = random_variables(model)
    words = {"params": {"text_encoder": variables["params"]["text_encoder"]}}
    rest = {name: x for name, x in variables["params"].items() if name != "text_encoder"}
    folders = (str(tmp_path / "words"), str(tmp_path / "rest"))
    variable_folder.save(folders[0], words)
    variable_folder.save(folders[1], {**variables, "params": rest})
    return model, variables, folders


def test_several_sources_are_laid_together(halves):
    model, variables, folders = halves
    assert_same(initialization.load_sources(folders, model, model.shapes()), variables)
    # One more, with the same values, changes nothing.
    assert_same(initialization.load_sources(2 * folders, model, model.shapes()), variables)


def test_sources_that_disagree_are_named_with_what_they_disagree_on(halves, tmp_path):
    model, variables, folders = halves
    other = jax.tree.map(lambda x: x + 1, {"params": {"decoder": variables["params"]["decoder"]}})
    variable_folder.save(tmp_path / "other", other)
    with pytest.raises(
        ValueError,
        match=rf"{tmp_path}/rest and {tmp_path}/other \(init_from\) hold other values of the same "
        r"parameters, params/decoder/bias, params/decoder/kernel; name only the one",
    ):
        initialization.load_sources((*folders, str(tmp_path / "other")), model, model.shapes())


def test_what_no_source_holds_is_listed(halves):
    model, _, folders = halves
    with pytest.raises(trees.OtherModelError, match=r"/words is of another model") as error:
        initialization.load_sources(folders[:1], model, model.shapes())
    # The letters alone may be absent, see the table of the stand-in.
    assert "not in the checkpoint: batch_stats/norm/mean" in str(error.value)
    assert initialization.load_sources(folders[1:], model, model.shapes())


class Later(Tiny):
    """A later stage: another name for one part, another part anew."""

    def adopt(self, variables):
        flat = flax.traverse_util.flatten_dict(variables, sep="/")
        renamed = {name.replace("/stem/", "/conv/"): x for name, x in flat.items()}
        ours = {name: x for name, x in renamed.items() if not name.startswith("params/old_head/")}
        left_out = dict.fromkeys(renamed.keys() - ours.keys(), "this stage has another")
        return ours, {**left_out, "params/context_head/": "trained anew"}


def test_a_model_maps_and_leaves_out_what_an_earlier_stage_had(halves, tmp_path, caplog):
    _, variables, _ = halves
    config = small_config.get_config()
    params = dict(variables["params"])
    params["stem"], params["old_head"] = params.pop("conv"), params.pop("context_head")
    variable_folder.save(tmp_path / "stage", {**variables, "params": params})
    config.init_from = (str(tmp_path / "stage"),)
    with caplog.at_level("INFO"):
        start = initialization.initial_variables(config, Later(config), key(0))
    assert "params/old_head/kernel of" in caplog.text
    assert "is left out: this stage has another" in caplog.text
    drawn = start["params"].pop("context_head")
    assert np.any(drawn["kernel"] != variables["params"]["context_head"]["kernel"])
    expected = {name: x for name, x in variables["params"].items() if name != "context_head"}
    assert_same(start, {**variables, "params": expected})


def test_a_run_is_a_source(workdir):
    config = run_folder.load(workdir)
    model = registry.build(config)
    config.init_from = (str(workdir),)
    start = initialization.initial_variables(config, model, key(0))
    assert_same(start, runs.best(workdir)[1])


def fan_in(path, params):
    """Inputs of the layer that a kernel or bias belongs to."""
    return np.prod(params[*path[:-1], "kernel"].shape[1:-1])  # the first axis counts the draws


def unit_draws(start, path, params):
    """All draws of a leaf, of unit deviation or bound; without the row of [PAD], which is 0."""
    draws = params[path]
    if "word_embeddings" in path:
        assert not draws[:, 0].any()
        draws = draws[:, 1:]
    return np.ravel(draws * np.sqrt(fan_in(path, params)) if start == UNIFORM else draws / 0.02)


def test_every_class_of_parameter_starts_as_the_references():
    model = registry.build(make_tiny_config("lgce"))  # which has all of LAVT's
    images, text = (
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        for shapes in model.sample_shapes()
    )
    draw = jax.jit(jax.vmap(lambda key: model.network().init(key, images, text)["params"]))
    params = flax.traverse_util.flatten_dict(
        jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(0), 24)))
    )
    pools = {}
    for path in params:
        (pattern,) = [p for p in STARTS if re.fullmatch(p, "/".join(path))]
        pools.setdefault(pattern, []).append(path)
    assert pools.keys() == STARTS.keys()
    for pattern, paths in pools.items():
        start = STARTS[pattern]
        if start in (ONE, ZERO):
            assert all((params[path] == float(start)).all() for path in paths), pattern
            continue
        pool = np.concatenate([unit_draws(start, path, params) for path in paths])
        pool = pool[:: 1 + len(pool) // 50_000]  # enough to tell, and quickly sorted
        law = scipy.stats.norm if start == NORMAL else scipy.stats.uniform(-1, 2)
        assert len(pool) >= 48, pattern
        assert scipy.stats.kstest(pool, law.cdf).pvalue > 1e-3, pattern
        assert np.std(pool) == pytest.approx(law.std(), rel=4 / np.sqrt(len(pool))), pattern
        # Neither a normal whose tails are cut at two deviations nor a uniform beyond its bound.
        assert np.abs(pool).max() > 3 if start == NORMAL else np.abs(pool).max() < 1.0001, pattern


def test_loaded_parts_leave_the_start_of_all_others(scratch, monkeypatch):
    config, model, variables = scratch
    config.model.vision.pretrained = config.model.text.pretrained = "somewhere"
    table = {"attn": {"relative_position_bias_table": np.float32(7.0)}}
    swin_part = {"layers_0": {"blocks_0": table}}
    text_part = jax.tree.map(lambda x: x + 1.0, variables["params"]["text_encoder"])
    monkeypatch.setattr(initialization, "random_variables", lambda *_: variables)
    report = mapping.Report()
    monkeypatch.setattr(swin_weights, "load", lambda *_: (swin_part, report))
    monkeypatch.setattr(bert_weights, "load", lambda *_, config: (text_part, report))
    params = initialization.initial_variables(config, model, key(0))["params"]
    assert_same(params["text_encoder"], text_part)
    assert_same(params["decoder"], variables["params"]["decoder"])
    here, there = (
        flax.traverse_util.flatten_dict(p["backbone"]) for p in (params, variables["params"])
    )
    loaded = ("layers_0", "blocks_0", "attn", "relative_position_bias_table")
    assert here.pop(loaded) == 7.0
    del there[loaded]
    assert_same(here, there)
