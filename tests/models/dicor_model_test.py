"""DiCoR as a model: stages, their groups and starts, files of its parts both ways, refusals."""

import flax.traverse_util
import jax
import numpy as np
import pytest

from rrsis_jax.cli import weights
from rrsis_jax.configuration import schema
from rrsis_jax.models import published, registry
from rrsis_jax.models.contract import Group
from rrsis_jax.training import initialization
from rrsis_jax.weights import sources, variable_folder
from tests.models import family

STAGES = ("coarse", "refiner", "guide", "joint")
PARTS = {  # published file: the beginnings of our paths
    "network": ("params/backbone/", "params/decoder/", "batch_stats/decoder/"),
    "guide": ("params/guide/", "params/text_norm/"),
    "refiner": ("params/refiner/", "batch_stats/refiner/"),
}


def build(stage, **changes):
    config = family.tiny("dicor")
    config.model.stage = stage
    config.update_from_flattened_dict(changes)
    return registry.build(config)


@pytest.fixture(scope="module")
def models():
    return {stage: build(stage) for stage in STAGES}


@pytest.fixture(scope="module")
def variables(models):
    return {stage: family.random_variables(model) for stage, model in models.items()}


def flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep="/")


def part_of(tree, part):
    kept = {path: x for path, x in flat(tree).items() if path.startswith(PARTS[part])}
    return flax.traverse_util.unflatten_dict(kept, sep="/")


def test_every_stage_has_the_parts_that_it_needs(models):
    parts = {stage: set(model.shapes()["params"]) for stage, model in models.items()}
    coarse = {"backbone", "decoder", "text_encoder"}
    assert parts == {
        "coarse": coarse,
        "refiner": coarse | {"refiner"},
        "guide": coarse | {"guide"},
        "joint": coarse | {"guide", "refiner", "text_norm"},
    }
    assert "refiner" not in build("joint", **{"model.refiner.width": 0}).shapes()["params"]
    for model in models.values():
        schema.check(model.config)


def test_a_stage_trains_its_own_part(models, goldens):
    def trained(stage):
        model = models[stage]
        groups = {
            path: model.param_group(path)
            for path in flax.traverse_util.flatten_dict(model.shapes()["params"])
        }
        return {path[0] for path, group in groups.items() if group}

    assert {stage: trained(stage) for stage in STAGES} == {
        "coarse": {"backbone", "decoder", "text_encoder"},
        "refiner": {"refiner"},
        "guide": {"guide"},
        "joint": {"decoder", "text_norm"},
    }
    family.assert_dead_as_recorded(
        models["coarse"], np.load(goldens / "dicor_coarse_small_train64.npz")
    )
    assert models["guide"].param_group(("guide", "evidence", "conv1", "kernel")) == Group()
    assert models["guide"].param_group(("guide", "ranker", "route_fc1", "bias")) == Group(0.625)
    assert models["joint"].param_group(("text_norm", "scale")) == Group(1.0, 0.01)
    block = ("decoder", "mixer", "blocks_0", "norm1", "scale")
    assert models["coarse"].param_group(block) == Group(1.0, 0.0)


@pytest.mark.parametrize("stage", STAGES)
def test_weights_return_from_one_file_and_are_recognised(models, variables, stage):
    state_dict, _ = published.export_state_dict(variables[stage], models[stage])
    assert registry.recognised(state_dict) == "dicor"
    returned, _ = published.import_state_dict(state_dict, models[stage])
    ours, theirs = flat(variables[stage]), flat(returned)
    assert ours.keys() == theirs.keys()
    rows = models[stage].config.model.text.max_tokens
    for path, value in ours.items():
        read = rows if path.endswith("position_embeddings/embedding") else None
        np.testing.assert_array_equal(theirs[path][:read], value[:read], err_msg=path)


def test_guide_and_refiner_are_files_of_their_own(models, variables):
    names = {
        "guide": {"module.ranker.geo_mlp.0.weight", "text_norm.bias"},
        "refiner": {"enc1.0.conv.weight", "up4.up.bias", "out_conv.weight"},
        "network": {
            "backbone.VMSF.blocks.0.ms_attn.attn.in_proj_weight",
            "classifier.conv1_1.bias",
        },
    }
    model, read = models["joint"], {}
    for part, expected in names.items():
        state_dict, _ = published.export_state_dict(part_of(variables["joint"], part), model)
        assert expected <= state_dict.keys()
        imported, _ = published.import_state_dict(state_dict, model)
        assert flat(imported).keys() == flat(part_of(variables["joint"], part)).keys()
        read |= flat(imported)
    whole = flat(variables["joint"])
    for path, value in read.items():
        np.testing.assert_array_equal(value, whole[path], err_msg=path)
    guide, _ = published.export_state_dict(part_of(variables["joint"], "guide"), model)
    for stage in ("guide", "joint"):  # the former has no norm of words, the file has
        imported, _ = published.import_state_dict(guide, models[stage])
        assert "guide" in imported["params"]


def test_a_part_is_read_whole_or_refused(models, variables):
    model = models["joint"]
    refiner, _ = published.export_state_dict(part_of(variables["joint"], "refiner"), model)
    short = {name: x for name, x in refiner.items() if name != "bottleneck.1.bn.running_var"}
    with pytest.raises(ValueError, match=r"missing, 1 [\s\S]*refineHead\.bottleneck\.1\.bn"):
        published.import_state_dict(short, model)
    with pytest.raises(ValueError, match=r"unknown, \d+ [\s\S]*refineHead\.enc1"):
        published.import_state_dict(refiner, models["coarse"])
    network, _ = published.export_state_dict(part_of(variables["joint"], "network"), model)
    del network["classifier.conv1_1.bias"]
    with pytest.raises(ValueError, match=r"missing, 1 [\s\S]*classifier\.conv1_1\.bias"):
        published.import_state_dict(network, model)


@pytest.mark.parametrize("carried", [True, False])
def test_the_joint_stage_takes_over_the_coarse_file_and_the_coarse_run(variables, models, carried):
    model = build("joint", **{"model.mixer.carried": carried})
    coarse = flat(variables["coarse"])
    state_dict, _ = published.export_state_dict(variables["coarse"], models["coarse"])
    imported = flat(published.import_state_dict(state_dict, model)[0])
    adopted, left_out = model.adopt(variables["coarse"])
    assert imported.keys() == adopted.keys()
    block = "params/decoder/mixer/blocks_0"
    assert (f"{block}/scales/attention/in_kernel" in adopted) == carried
    for path, value in adopted.items():
        theirs = path.replace("/scales/", "/") if path.startswith(block) else path
        np.testing.assert_array_equal(value, coarse[theirs], err_msg=path)
    assert left_out[f"{block}/words_"] == "earlier stages mix without words"
    assert (f"{block}/attention/in_kernel" in left_out) != carried


def test_stages_lie_over_each_other(models, variables):
    shared = flat(variables["coarse"])
    runs = {
        stage: flax.traverse_util.unflatten_dict({**flat(variables[stage]), **shared}, sep="/")
        for stage in ("guide", "refiner")
    }
    adopted = {}
    for tree in runs.values():
        adopted |= models["joint"].adopt(tree)[0]
    fresh = flat(models["joint"].shapes()).keys() - adopted.keys()
    assert adopted.keys() <= flat(models["joint"].shapes()).keys()
    assert {path.split("/")[-3] for path in fresh if "mixer" in path} >= {"words_mlp", "image_mlp"}
    assert all("/words_" in p or "/image_" in p or "/text_norm/" in p for p in fresh)
    assert models["joint"].lacking(adopted) == ""
    refined, left_out = models["refiner"].adopt(runs["guide"])
    assert not any("guide" in path for path in refined)
    assert left_out["params/refiner/"] == "the refiner is what this stage trains"


def test_a_start_from_the_wrong_stage_says_which_it_needs(models, variables):
    joint = models["joint"]
    with pytest.raises(ValueError, match=r"joint stage, and the stage 'guide' needs a coarse netw"):
        models["guide"].adopt(variables["joint"])
    assert "brings no weights of guide, refiner: name the run" in joint.lacking(
        joint.adopt(variables["coarse"])[0]
    )
    assert joint.lacking(flat(variables["joint"])) == ""
    assert models["coarse"].lacking(()) == ""
    with pytest.raises(ValueError, match=r"stage 'refiner' starts from what the stage coarse has"):
        initialization.initial_variables(models["refiner"].config, models["refiner"], None)


def test_rows_are_those_of_the_stage():
    rows = {"data.arrays.prompt": ("prompt.npy",)}
    inputs = build("refiner", **rows).inputs()
    assert {name: row.shape for name, row in inputs.arrays.items()} == {"prompt": (8, 8)}
    maps = np.zeros((3, 8, 8), np.uint8)
    maps[1, 2, 3] = 1
    assert inputs.usable({"prompt": maps}).tolist() == [False, True, False]
    both = {**rows, "data.arrays.distractors": ("others.npy",)}
    assert set(build("guide", **both).inputs().arrays) == {"prompt", "distractors"}
    assert "distractors" in build("guide", **both).loss_scales()
    assert "distractors" not in build("guide", **rows).loss_scales()
    for stage in ("coarse", "joint"):
        assert not build(stage).inputs().arrays
        with pytest.raises(
            ValueError, match=f"prompt is given, and the stage '{stage}' reads none"
        ):
            build(stage, **rows)


@pytest.mark.parametrize("stage", ["refiner", "guide"])
def test_a_step_on_stored_rows_has_every_term_and_keeps_all_statistics(stage):
    rows = {"data.arrays.prompt": ("prompt.npy",)}
    if stage == "guide":
        rows["data.arrays.distractors"] = ("others.npy",)
    model = build(stage, **rows)
    images, text = model.sample_shapes()
    stored = {
        name: jax.ShapeDtypeStruct((1, *row.shape), row.dtype)
        for name, row in model.inputs().arrays.items()
    }
    target = jax.ShapeDtypeStruct((1, family.SIDE, family.SIDE), "uint8")

    def losses_of(variables, batch):
        outputs, updates = model.network().apply(
            variables,
            images=batch["images"],
            text=batch["text"],
            train=True,
            arrays=batch["arrays"],
            mutable=["batch_stats"],
        )
        return model.loss_sums(outputs, batch, lambda x: x), model.loss_weights(batch), updates

    batch = {"images": images, "text": text, "arrays": stored, "target": target}
    sums, weights_of_terms, updates = jax.eval_shape(losses_of, model.shapes(), batch)
    assert sums.keys() == weights_of_terms.keys() == model.loss_scales().keys()
    statistics = model.shapes()["batch_stats"]
    assert jax.tree.structure(updates["batch_stats"]) == jax.tree.structure(statistics)


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"has 60 channels; they must be a multiple of 8: take a"):
        build("coarse", **{"model.vision.embed_dim": 16})
    with pytest.raises(ValueError, match=r"refiner\.width is 0, and the stage trains it"):
        build("refiner", **{"model.refiner.width": 0})
    config = family.tiny("dicor")
    config.model.stage = "fine"
    with pytest.raises(
        ValueError, match=r"stage is 'fine'; it must be one of coarse, refiner, gui"
    ):
        schema.check(config)


def test_one_command_joins_the_published_files(models, variables, tmp_path):
    file = "from tests.models.family import tiny\n\ndef get_config():\n    return tiny('dicor')\n"
    (tmp_path / "small.py").write_text(file)
    parts = {"joint.pth": "network", "guide.safetensors": "guide", "refiner.pth": "refiner"}
    for file, part in parts.items():
        kept = part_of(variables["joint"], part)
        if part == "network":
            kept["params"]["text_encoder"] = variables["joint"]["params"]["text_encoder"]
        published.export_weights(kept, models["joint"], tmp_path / file)
    files = [str(tmp_path / file) for file in parts]
    options = ["--config", str(tmp_path / "small.py"), "--to", str(tmp_path / "weights")]
    weights.main(["import", "--from", *files, *options])
    joined = flat(variable_folder.load(tmp_path / "weights"))
    assert joined.keys() == flat(variables["joint"]).keys()
    again = [sources.find(file) for file in (files[1], files[1])]
    with pytest.raises(ValueError, match=r"guide\.safetensors holds parameters that a file before"):
        published.import_files(again, models["joint"])
