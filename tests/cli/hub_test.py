"""The commands and the hub: weights in, with their origin kept; models out, with a card."""

import json
import types

import numpy as np
import pytest
import yaml

from rrsis_jax.cli import export, weights
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import scores
from rrsis_jax.models import published, registry
from rrsis_jax.prediction import bundle, run_facts, trained_model
from rrsis_jax.prediction.predictor import Predictor
from rrsis_jax.training import initialization, train
from rrsis_jax.weights import sources, state_dicts
from tests import hub_stand_in
from tests.cli.weights_test import CONFIG

PUSH = ("--push", "me/net", "--license", "mit")


@pytest.fixture
def hub(tmp_path):
    with (
        hub_stand_in.running() as server,
        hub_stand_in.reached(server, tmp_path / "cache"),
    ):
        yield server


@pytest.fixture
def measured(stand_in, workdir, tmp_path):
    """A bundle of the stand-in with the metrics of a run."""
    config = run_folder.load(workdir)
    values = dict.fromkeys(scores.COLUMNS, 0.25) | {"samples": 4, "mIoU interval": [0, 0.5]}
    splits = {"test": {**values, "native": values, "breakdowns": {}}}
    report = {"best_step": 1, "config_sha256": run_folder.config_hash(config), "splits": splits}
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps(report))
    assert run_facts.read(run, config, step=2)["splits"] == {}
    facts = run_facts.read(run, config, step=1)
    assert "breakdowns" not in facts["splits"]["test"]
    facts["sources"] = [{"source": "/home/me/w.pth", "commit": "", "files": {"w.pth": "0" * 64}}]
    object.__setattr__(stand_in.model, "facts", facts)
    bundle.save(stand_in.model, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_an_import_from_the_hub_keeps_where_it_is_from(hub, lavt_small, tmp_path):
    state_dicts.write_state_dict(tmp_path / "a.safetensors", lavt_small.state_dict)
    hub.repos["me/net"] = {"a.safetensors": (tmp_path / "a.safetensors").read_bytes()}
    (tmp_path / "config.py").write_text(CONFIG)
    named = ["--config", f"{tmp_path}/config.py", "--to", f"{tmp_path}/b"]
    weights.main(["import", "--from", "hf://me/net", *named])
    (origin,) = json.loads((tmp_path / "b" / sources.FILE).read_text())["sources"]
    assert (origin["source"], origin["commit"]) == ("hf://me/net", hub.commit("me/net"))
    assert list(origin["files"]) == ["a.safetensors"]
    imported = sources.find(tmp_path / "b")
    assert imported.record()["made_from"] == [origin]
    with pytest.raises(ValueError, match="holds variables that this project wrote"):
        published.import_weights(imported, lavt_small.model)


def test_a_run_goes_on_with_the_commit_that_it_began_with(hub, tiny_config, tmp_path):
    hub.repos["me/net"] = {"a.safetensors": b"first"}
    tiny_config.init_from = ("hf://me/net",)
    starts = initialization.find_starts(tiny_config, sources.commits(tmp_path))
    data = types.SimpleNamespace(keep=lambda folder: None)
    with train.begun(tiny_config, data, tmp_path, starts):
        (record,) = sources.load(tmp_path)
    assert record == starts["hf://me/net"].record()
    hub.repos["me/net"] = {"a.safetensors": b"second"}
    hub_stand_in.forget()
    again = initialization.find_starts(tiny_config, sources.commits(tmp_path))
    assert again == starts
    assert again["hf://me/net"].path.read_bytes() == b"first"


def test_a_dry_run_shows_what_would_go_and_asks_no_hub(hub, measured, capsys):
    export.main(["--output", str(measured), *PUSH, "--dry-run"])
    shown = capsys.readouterr().out
    assert "bytes  variables.safetensors" in shown
    assert "Nothing was uploaded" in shown
    assert hub.asked == []
    card = shown.partition("README.md:\n\n")[2]
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["library_name"]) == ("mit", "rrsis-jax")
    (result,) = front["model-index"][0]["results"]
    assert {metric["value"] for metric in result["metrics"]} == {25.0}
    for told in (
        "| test | paper | 4 | 25.00 |",
        "rrsis-predict --bundle hf://me/net --image scene.tif",
        "CC-BY-4.0 as its authors state",
        f"- `w.pth`: `w.pth`, SHA-256 `{'0' * 64}`",
    ):
        assert told in card
    assert "/home/me" not in card + (measured / "metadata.json").read_text()


def test_a_pushed_bundle_predicts_from_its_address(hub, measured, stand_in, image, capsys):
    export.main(["--output", str(measured), *PUSH])
    commit = hub.commit("me/net")
    assert f"Uploaded to hf://me/net@{commit}." in capsys.readouterr().out
    assert set(hub.repos["me/net"]) == {"README.md", *bundle.files(measured)}
    loaded = Predictor.from_bundle(f"hf://me/net@{commit}", batch_size=8)
    there, here = (model.predict(image, ["tree"]).probabilities for model in (loaded, stand_in))
    np.testing.assert_allclose(there, here, atol=1e-6)
    (origin,) = loaded.model.facts["sources"]
    assert (origin["commit"], list(origin["files"])) == (commit, ["SHA256SUMS"])
    assert origin["made_from"][0]["source"] == "w.pth"
    del hub.repos["me/net"]["metadata.json"]
    hub_stand_in.forget()
    with pytest.raises(ValueError, match=r"is no whole bundle: it lacks metadata\.json"):
        bundle.load("hf://me/net")
    hub.repos["me/other"] = {"config.json": b"{}"}
    with pytest.raises(ValueError, match=r"is no bundle: there is no SHA256SUMS in it\. The repo"):
        bundle.load("hf://me/other")


def test_a_model_without_metrics_or_a_token_is_not_uploaded(
    hub, stand_in, measured, tmp_path, monkeypatch
):
    object.__setattr__(stand_in.model, "facts", {"checkpoint_step": 7})
    bundle.save(stand_in.model, tmp_path / "plain")
    with pytest.raises(ValueError, match="holds no metrics of its checkpoint, step 7, and a model"):
        export.main(["--output", str(tmp_path / "plain"), *PUSH])
    (measured / "SHA256SUMS").write_text("")
    with pytest.raises(ValueError, match="is not the bundle that was exported"):
        export.main(["--output", str(measured), *PUSH])
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="needs a token of the Hugging Face hub, and there is non"):
        export.main(["--output", str(measured), *PUSH])
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--push me/net", "--push needs --license: say under which licence"),
        ("--push net --license mit", "'net' is no repository; expected owner/name"),
        ("--push me/net --license MIT!", "'MIT!' is no name of a licence"),
        ("--workdir runs/a --dry-run", "--dry-run without --push: say where to upload to"),
        ("", "required: --workdir, or --push"),
    ],
)
def test_options_that_do_not_go_together(line, told, capsys):
    with pytest.raises(SystemExit):
        export.main(["--output", "bundle", *line.split()])
    assert told in capsys.readouterr().err


def test_predictions_take_weights_as_they_are_published(hub, workdir, tmp_path):
    """The run's weights, through their authors' layout and the hub, are the run's weights."""
    run, config = trained_model.from_workdir(workdir), run_folder.load(workdir)
    config.data.tokenizer = str(workdir / "tokenizer")
    published.export_weights(run.variables, registry.build(config), tmp_path / "w.safetensors")
    hub.repos["me/net"] = {"w.safetensors": (tmp_path / "w.safetensors").read_bytes()}
    found = trained_model.from_weights("hf://me/net", config)
    assert found.digest() == run.digest()
    assert found.facts["sources"][0]["commit"] == hub.commit("me/net")
