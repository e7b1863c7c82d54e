"""Bundles: the same numbers without the model's code, and clear words about broken ones."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from rrsis_jax.cli import export
from rrsis_jax.models import registry
from rrsis_jax.prediction import trained_model
from rrsis_jax.prediction.bundle import jax, load, save
from rrsis_jax.prediction.predictor import Predictor


@pytest.fixture(scope="module")
def bundle(live, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "bundle"
    save(live.model, folder)
    return folder


def test_a_bundle_takes_any_batch_size_and_needs_no_model(stand_in, image, tmp_path, monkeypatch):
    """`tests/models/contract_test.py` holds the bundles of all models to their numbers."""

    def refuse(config):
        raise AssertionError("a bundle needs no model code")

    monkeypatch.setattr(registry, "build", refuse)
    save(stand_in.model, tmp_path / "bundle")
    for batch_size in (4, 12):
        loaded = Predictor.from_bundle(tmp_path / "bundle", batch_size)
        there = loaded.predict(image, ["tree", "red car"], tiled=True).probabilities
        here = stand_in.predict(image, ["tree", "red car"], tiled=True).probabilities
        np.testing.assert_allclose(there, here, atol=1e-6)


def test_a_bundle_is_complete_and_runs_on_all_platforms(bundle, live):
    assert {path.name for path in bundle.iterdir()} == {
        "SHA256SUMS",
        "encode_image.jax_export",
        "encode_text.jax_export",
        "metadata.json",
        "segment.jax_export",
        "tokenizer",
        "variables.safetensors",
    }
    metadata = json.loads((bundle / "metadata.json").read_text())
    images = {"image": {"size": 32}}
    assert metadata["inputs"] == {"images": images, "target_size": 32, "fill": [0, 0, 0]}
    assert metadata["tokenizer"] == {"kind": "wordpiece", "max_tokens": 8}
    assert metadata["platforms"] == ["cpu", "cuda", "tpu"]
    assert metadata["weights_sha256"] == live.model.digest()
    for name in ("encode_text", "encode_image", "segment"):
        content = (bundle / f"{name}.jax_export").read_bytes()
        assert jax.export.deserialize(bytearray(content)).platforms == ("cpu", "cuda", "tpu")


def test_the_command_exports_the_best_checkpoint(workdir, tmp_path, capsys):
    export.main(["--workdir", str(workdir), "--output", str(tmp_path / "new")])
    assert "Exported to" in capsys.readouterr().out
    there, here = load(tmp_path / "new"), trained_model.from_workdir(workdir)
    assert there.digest() == here.digest()


def test_the_ground_sampling_distance_of_the_training_goes_along(workdir, tmp_path):
    assert trained_model.from_workdir(workdir).gsd is None
    copied = tmp_path / "run"
    shutil.copytree(workdir, copied)
    config = json.loads((copied / "config.json").read_text())
    config["data"]["ground_sampling_distance"] = 0.25
    (copied / "config.json").write_text(json.dumps(config))
    assert trained_model.from_workdir(copied).gsd == 0.25


def test_a_folder_with_something_in_it_is_not_touched(live, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        save(live.model, tmp_path)


def damage(folder: pathlib.Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-100] ^= 255
    (folder / name).write_bytes(bytes(content))


def test_broken_bundles_are_named(bundle, tmp_path):
    with pytest.raises(ValueError, match="is no complete bundle"):
        load(tmp_path)
    broken = tmp_path / "weights"
    shutil.copytree(bundle, broken)
    damage(broken, "variables.safetensors")
    with pytest.raises(ValueError, match=r"is not the bundle that was exported; .*variables\.safe"):
        load(broken)
    (broken / "segment.jax_export").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"segment\.jax_export, variables.*Export it anew"):
        load(broken)
    for other in (2, 99):
        (broken / "metadata.json").write_text(json.dumps({"format": other}))
        with pytest.raises(ValueError, match=f"of format {other}, this version reads 3"):
            load(broken)
