import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from rrsis_jax.models import published, registry


def with_text(golden, rows=512):
    """The recording's weights with those of a tiny BERT, and the model of both."""
    config = golden.config.copy_and_resolve_references()
    config.model.text.update(
        {"num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9, "num_attention_heads": 2}
    )
    width = config.model.text.hidden_size
    shapes = {
        "embeddings.word_embeddings.weight": (9, width),
        "embeddings.position_embeddings.weight": (rows, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer, out, into in (
        ("attention.self.query", width, width),
        ("attention.self.key", width, width),
        ("attention.self.value", width, width),
        ("attention.output.dense", width, width),
        ("intermediate.dense", 8, width),
        ("output.dense", width, 8),
    ):
        shapes[f"encoder.layer.0.{layer}.weight"] = (out, into)
        shapes[f"encoder.layer.0.{layer}.bias"] = (out,)
    for layer in ("attention.output.LayerNorm", "output.LayerNorm"):
        shapes[f"encoder.layer.0.{layer}.weight"] = (width,)
        shapes[f"encoder.layer.0.{layer}.bias"] = (width,)
    rng = np.random.default_rng(0)
    text = {
        f"text_encoder.{name}": rng.standard_normal(shape, dtype=np.float32)
        for name, shape in shapes.items()
    }
    return {**golden.state_dict, **text}, registry.build(config)


def assert_equal_trees(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_import_export_import_is_bit_equal(small):
    state_dict, model = with_text(small)
    variables, _ = published.import_state_dict(state_dict, model)
    exported, _ = published.export_state_dict(variables, model)
    assert_equal_trees(published.import_state_dict(exported, model)[0], variables)
    inert = model.table().inert()
    for name in state_dict.keys() - inert.keys():
        np.testing.assert_array_equal(exported[name], state_dict[name], err_msg=name)


def test_export_has_the_names_and_shapes_of_the_reference(small):
    variables, _ = published.import_state_dict(small.state_dict, small.model)
    exported, report = published.export_state_dict(variables, small.model)
    buffers = {name for name in small.model.table().buffers() if not name.startswith("text_")}
    assert buffers == {row.target for row in report.rows if row.note == "index buffer"}
    assert {name: exported[name].shape for name in exported.keys() - buffers} == {
        name: value.shape for name, value in small.state_dict.items()
    }


def test_without_text_weights_there_is_no_text_encoder(lavt_small):
    variables, _ = published.import_state_dict(lavt_small.state_dict, lavt_small.model)
    assert variables["params"].keys() == {"backbone", "decoder"}
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(variables))


def test_names_of_distributed_training_and_buffers_are_understood(lavt_small):
    model = lavt_small.model
    plain, _ = published.import_state_dict(lavt_small.state_dict, model)
    buffers = {
        name: x for name, x in model.table().buffers().items() if not name.startswith("text_")
    }
    wrapped = {f"module.{name}": x for name, x in {**lavt_small.state_dict, **buffers}.items()}
    assert_equal_trees(published.import_state_dict(wrapped, model)[0], plain)


def test_uncalled_names_and_the_pooler_are_skipped_and_reported(lgce_small):
    state_dict, model = with_text(lgce_small)
    state_dict["text_encoder.pooler.dense.weight"] = np.zeros((2, 2), np.float32)
    state_dict["text_encoder.embeddings.position_ids"] = np.arange(512)[None]
    _, report = published.import_state_dict(state_dict, model)
    notes = {row.source: row.note for row in report.rows}
    assert notes["classifier.msb2.msb.projs.0.0.weight"] == "skipped: this block is never called"
    assert notes["classifier.lg_layer1.bias"] == "skipped: this guide layer is never called"
    assert notes["text_encoder.pooler.dense.weight"] == "skipped: the pooler is not used"
    assert notes["text_encoder.embeddings.position_ids"].startswith("skipped: index buffer")


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (600, "600 rows cut to 512; only 20 are read"),
        (64, "64 rows filled with zeros to 512; only 20 are read"),
    ],
)
def test_position_rows_that_are_never_read_may_differ(lavt_small, rows, note):
    state_dict, model = with_text(lavt_small, rows)
    variables, report = published.import_state_dict(state_dict, model)
    table = variables["params"]["text_encoder"]["bert"]["embeddings"]["position_embeddings"]
    assert table["embedding"].shape == (512, 768)
    name = "text_encoder.embeddings.position_embeddings.weight"
    np.testing.assert_array_equal(table["embedding"][:20], state_dict[name][:20])
    assert note in str(report)


def test_too_few_position_rows_are_refused(lavt_small):
    state_dict, model = with_text(lavt_small, rows=19)
    with pytest.raises(ValueError, match=r"came \(19, 768\), expected \(512, 768\)"):
        published.import_state_dict(state_dict, model)


def test_lgce_weights_in_a_lavt_model_say_which_config_to_use(lgce_small, lavt_small):
    with pytest.raises(ValueError, match="unknown, ") as caught:
        published.import_state_dict(lgce_small.state_dict, lavt_small.model)
    assert (
        "These look like 'lgce' weights, and the configuration builds 'lavt': use "
        "--config=lgce_refsegrs"
    ) in str(caught.value)


def test_missing_and_unknown_names_are_all_listed(lavt_small):
    state_dict = dict(lavt_small.state_dict)
    state_dict["backbone.norm0.weigth"] = state_dict.pop("backbone.norm0.weight")
    del state_dict["classifier.conv1_1.bias"]
    with pytest.raises(ValueError, match="missing, 2") as caught:
        published.import_state_dict(state_dict, lavt_small.model)
    assert "backbone.norm0.weigth (nearest: backbone.norm0.weight)" in str(caught.value)
    assert "classifier.conv1_1.bias" in str(caught.value)


def test_base_size_with_bert_takes_under_a_minute_and_four_gigabytes():
    program = """
        import pathlib, re, time
        import jax, numpy as np
        from rrsis_jax.configs import default
        from rrsis_jax.models import published, registry

        model = registry.build(default.get_config())
        variables = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), model.shapes())
        state_dict, _ = published.export_state_dict(variables, model)
        del variables
        published.import_state_dict(state_dict, model)
        status = pathlib.Path("/proc/self/status").read_text()
        print(time.process_time(), re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    assert float(seconds) < 60  # of the processor, so that a busy machine does not count
    assert int(peak) < 4 * 1024**2


def test_a_live_guide_starts_from_the_references_weights_and_stays_ours(lgce_small):
    config = lgce_small.config.copy_and_resolve_references()
    config.model.guide.live = True
    model = registry.build(config)
    variables, report = published.import_state_dict(lgce_small.state_dict, model)
    block = variables["params"]["decoder"]["cross_scale"]
    assert not block["modulate_fine"]["linear"]["kernel"].any()
    assert {
        row.target for row in report.rows if row.note == "zero: the published network lacks it"
    } == {
        f"params/decoder/cross_scale/modulate_{scale}/{path}"
        for scale in ("fine", "coarse")
        for path in flatten_dict(block[f"modulate_{scale}"], sep="/")
    }
    exported, _ = published.export_state_dict(variables, model)
    plain, _ = published.import_state_dict(lgce_small.state_dict, lgce_small.model)
    assert exported.keys() == published.export_state_dict(plain, lgce_small.model)[0].keys()
    block["modulate_fine"]["linear"]["bias"] += 1.0
    with pytest.raises(
        ValueError, match=r"no layers for .*modulate_fine/linear/bias, and they are trained"
    ):
        published.export_state_dict(variables, model)
