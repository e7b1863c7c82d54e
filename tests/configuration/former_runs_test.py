"""The config.json of a run that version 0.1 made is read under the present names of its keys."""

import json
import pathlib
import re
import shutil

import pytest

from rrsis_jax.cli import train
from rrsis_jax.configs import default
from rrsis_jax.configuration import run_folder, schema
from rrsis_jax.models import registry

# ml_collections loads configuration files in a way that Python 3.15 will remove.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

NEW_OPTIM = ("schedule", "hold", "half_period", "floor", "warmup_start")
HERE = pathlib.Path(__file__).parent
RENAMED = {
    "model.decoder": "model.name",
    "optim.decay_matrices_only": "optim.groups.decay_matrices_only",
    "optim.layer_decay": "optim.groups.layer_decay",
    "optim.text_scale": "optim.groups.text_scale",
}


@pytest.fixture(params=["lgce", "lavt"])
def former(request, tmp_path):
    """A run's folder with a kept file, whose values are not all the defaults, and its values."""
    file = shutil.copy(HERE / f"{request.param}_0.1.json", tmp_path / run_folder.FILE)
    return tmp_path, schema.flat(json.loads(file.read_text()))


def test_every_value_is_found_under_its_present_name(former):
    folder, stored = former
    config = run_folder.load(folder)
    values = schema.flat(json.loads(config.to_json()))
    assert values.keys() == schema.flat(default.get_config(config.model.name)).keys()
    gone = {"model.fusion.live_gates"}
    gone |= {"model.guide.over_words", "model.guide.live"} if config.model.name == "lavt" else set()
    here = {RENAMED.get(key, key): value for key, value in stored.items() if key not in gone}
    assert values == {
        **here,
        "init_from": [],  # a text before, "" for none
        "data.augment.black_boxes": default.get_config().data.augment.black_boxes,
        "data.foreground": default.get_config().data.foreground,
        "data.accept_changes": default.get_config().data.accept_changes,
        "data.weights": list(default.get_config().data.weights),
        **{f"optim.{key}": default.get_config().optim[key] for key in NEW_OPTIM},
        **{
            f"distributed.{key}": default.get_config().distributed[key]
            for key in ("backend", "cpu_devices")
        },
    }
    assert (config.optim.groups.layer_decay, config.model.text.max_tokens) == (0.9, 24)
    assert registry.build(config).name == stored["model.decoder"]


def test_a_run_goes_on_with_the_same_values_and_no_others(former):
    folder, stored = former
    config = default.get_config(stored["model.decoder"])
    config.update_from_flattened_dict(
        {
            RENAMED.get(key, key): tuple(value) if isinstance(value, list) else value
            for key, value in stored.items()
            if RENAMED.get(key, key) in schema.rules(config) and key != "init_from"
        }
    )
    run_folder.check(config, folder)
    config.optim.groups.text_scale = 1.0
    with pytest.raises(ValueError, match=r"optim.groups.text_scale: 0.5 in the workdir, 1.0 now"):
        run_folder.check(config, folder)


def test_the_command_line_reads_a_run_of_before(former, tmp_path):
    """All its values are accepted, so that what is missed in the folder is the checkpoint."""
    folder, stored = former
    name = stored["model.decoder"]
    overrides = [
        f"--config.{RENAMED.get(key, key)}={tuple(value) if isinstance(value, list) else value}"
        for key, value in stored.items()
        if RENAMED.get(key, key) in schema.rules(default.get_config(name)) and key != "init_from"
    ]
    command = [f"--config={name}_refsegrs", f"--workdir={folder}", "--mode=evaluate"]
    with pytest.raises(ValueError, match="There is no checkpoint yet"):
        train.main([*command, *overrides])
    with pytest.raises(
        ValueError, match=r"optim\.groups\.text_scale: 0\.5 in the workdir, 1\.0 now"
    ):
        train.main(command)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "optim.layer_decay=0.9",
            "optim.layer_decay is optim.groups.layer_decay since version 0.2",
        ),
        ("model.decoder=lavt", "model.decoder is model.name since version 0.2."),
        (
            "model.name=rmsin",
            "These are the keys of lavt: model.name=rmsin changes the name and no key. Use a "
            "configuration of rmsin, as --config=rmsin_refsegrs.",
        ),
        ("model.name=unet", "There is no model 'unet' (model.name); known are aeroreformer, "),
        ("model.fusion.live_gates=True", "Version 0.2 has no model.fusion.live_gates any more."),
        ("model.guide.live=True", "There is no key 'guide'\nmodel.guide.live is a key of lgce."),
        ("init_from=", "init_from is ('',); it must be any number of times a file, a folder"),
    ],
)
def test_a_key_of_before_or_of_another_model_is_told(override, told, tmp_path):
    with pytest.raises(ValueError, match=re.escape(told)):
        train.main(["--config=lavt_refsegrs", f"--workdir={tmp_path}", f"--config.{override}"])


def test_a_decoder_that_is_no_model_is_told(former):
    folder, _ = former
    path = folder / run_folder.FILE
    name = json.loads(path.read_text())["model"]["decoder"]
    path.write_text(path.read_text().replace(f'"decoder": "{name}"', '"decoder": "unet"'))
    with pytest.raises(ValueError, match=r"There is no model 'unet' \(model\.name\); known are"):
        run_folder.load(folder)


def test_a_key_that_the_model_does_not_have_is_refused_in_a_new_run():
    config = default.get_config("lavt").copy_and_resolve_references()
    with config.unlocked():
        config.model.guide = default.get_config("lgce").model.guide
    with pytest.raises(ValueError, match=r"- model\.guide\.live is no key of the model 'lavt'"):
        schema.check(config)


def test_a_start_of_before_is_one_of_several_now(former):
    folder, _ = former
    path = folder / run_folder.FILE
    path.write_text(path.read_text().replace('"init_from": ""', '"init_from": "a/lgce.pth"'))
    assert run_folder.load(folder).init_from == ["a/lgce.pth"]
    values = {"init_from": "runs/a", "model": {"name": "lgce"}}
    assert schema.upgraded(values)["init_from"] == ["runs/a"]


@pytest.fixture
def younger(tmp_path):
    """The folder and values of a run between the versions, without the keys that came later."""
    values = json.loads(default.get_config("aeroreformer").to_json())
    del values["model"]["text"]["keep_end"], values["distributed"]["backend"]
    del values["data"]["weights"], values["data"]["augment"]["black_boxes"]
    write(tmp_path, values)
    return tmp_path, values


def write(folder, values):
    (folder / run_folder.FILE).write_text(json.dumps(values))


def test_a_key_that_came_later_has_the_value_that_its_absence_meant(younger):
    folder, _ = younger
    config = default.get_config("aeroreformer")
    loaded = schema.flat(run_folder.load(folder))
    expected = {**schema.flat(json.loads(config.to_json())), "model.text.keep_end": False}
    assert loaded == expected
    with pytest.raises(ValueError, match=r"keep_end: False in the workdir, True now"):
        run_folder.check(config, folder)
    config.model.text.keep_end = False
    run_folder.check(config, folder)


def test_a_key_that_always_was_there_is_missed(younger):
    folder, values = younger
    del values["train"]["batch_size"]
    write(folder, {**values, "distributed": 3})
    with pytest.raises(ValueError, match=r"- train\.batch_size is missing") as told:
        run_folder.load(folder)
    assert "- distributed.timeout is missing" in str(told.value)
