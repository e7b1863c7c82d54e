"""The whole path on four devices: a folder of scenes, training, checkpoints, report, resume."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.distributed import hosts, preemption
from rrsis_jax.evaluation import evaluate
from rrsis_jax.training import initialization, metric_writer, run_lock, train
from rrsis_jax.weights import checkpoints, variable_folder
from tests.key_recorder import KeyRecorder
from tests.tiny_config import get_config as make_tiny_config


def make_config(scene_folder, data_dir):
    config = make_tiny_config()
    config.data.dataset = "refsegrs/folder"
    config.data.folder = str(scene_folder)
    config.data.data_dir = str(data_dir)
    config.model.text.trained_embeddings = False
    config.optim.ema_decay = 0.5
    config.optim.warmup_steps = 1
    config.train.epochs = 2.0
    config.train.log_every = 3
    config.eval.num_pictures = 2
    return config


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture(scope="session")
def trained(scene_folder, data_dir, tmp_path_factory):
    """A finished run of eight steps: (config, workdir, report, recorder of read keys)."""
    config, workdir = make_config(scene_folder, data_dir), tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = KeyRecorder(config, monkeypatch)
        hosts.join(config.distributed)
        report = train.train(config, str(workdir))
    return config, workdir, report, recorder


def test_every_key_of_the_configuration_is_read(trained):
    recorder = trained[3]
    assert len(recorder.all) > 50
    assert recorder.all - recorder.read == set()


def test_the_report_holds_both_splits_and_the_curve(trained):
    _, workdir, report, _ = trained
    assert json.loads((workdir / "metrics.json").read_text()) == report
    for split in ("validation", "test"):
        scores = report["splits"][split]
        assert 0.0 <= scores["P@0.9"] <= scores["P@0.5"] <= 1.0
        assert scores["samples"] in (5, 6)
        assert 0.0 <= scores["mIoU, phrases shuffled"] <= 1.0
    steps = [record["step"] for record in report["history"]]
    assert steps == [4, 8]
    best = max(report["history"], key=lambda record: record["mIoU"])
    assert report["best_step"] == best["step"]
    # The checkpoint that was restored scores what it scored when it was saved.
    assert report["splits"]["validation"]["mIoU"] == best["mIoU"]
    assert all(np.isfinite(record["train_loss"]) for record in report["history"])


def test_pictures_and_curves_are_on_disk(trained):
    workdir = trained[1]
    pictures = sorted((workdir / "pictures").glob("test_*.png"))
    assert len(pictures) == 2
    assert np.asarray(Image.open(pictures[0])).std() > 0
    assert list(workdir.glob("events.out.tfevents.*"))


def test_a_finished_run_reports_again_without_training_and_without_what_it_began_with(
    trained, tmp_path
):
    config, workdir, report, _ = trained
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    config = config.copy_and_resolve_references()
    config.init_from, config.model.vision.pretrained = ("/gone/lgce.pth",), "/gone/swin.pth"
    (tmp_path / run_folder.FILE).write_text(config.to_json())
    again = train.train(config, str(tmp_path))
    assert again == {**report, "config_sha256": run_folder.config_hash(config)}


def test_another_configuration_is_refused_in_the_same_workdir(trained):
    config, workdir, *_ = trained
    changed = config.copy_and_resolve_references()
    changed.optim.learning_rate = 0.5
    with pytest.raises(ValueError, match=r"optim.learning_rate: 0.001 in the workdir, 0.5 now"):
        train.train(changed, str(workdir))


def test_a_batch_that_the_devices_cannot_share_leaves_the_workdir_untouched(tiny_config, tmp_path):
    tiny_config.train.batch_size = 6
    with pytest.raises(ValueError, match=r"train.batch_size is 6, .* Set it to 4 or 8"):
        train.train(tiny_config, str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("data.folder", "/nowhere", "/nowhere"),
        ("optim.warmup_steps", 10**6, "warmup_steps is 1000000, but the run has"),
        ("train.batch_size", 4000, "fewer than one batch of 4000"),
        ("model.text.hidden_size", 33, "33"),
        ("model.vision.pretrained", "/absent.safetensors", "/absent.safetensors"),
    ],
)
def test_a_refused_first_start_leaves_no_trace_so_the_corrected_one_begins(
    key, value, reason, scene_folder, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(initialization, "random_variables", lambda *_: {"params": {"backbone": {}}})
    config = make_config(scene_folder, data_dir)
    config.update_from_flattened_dict({key: value})
    with pytest.raises((ValueError, OSError), match=reason):
        train.train(config, str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_second_training_in_the_workdir_is_refused_before_anything_is_prepared(
    trained, monkeypatch
):
    config, workdir, *_ = trained
    monkeypatch.setattr(train.run_data, "open_data", None)
    with (
        run_lock.held(workdir),
        pytest.raises(ValueError, match=r"is in use: process \d+ on host .* choose another --work"),
    ):
        train.train(config, str(workdir))


def test_frozen_parameters_are_stored_once_a_run(trained):
    folder = trained[1] / constants.CHECKPOINTS_FOLDER
    (frozen,) = folder.glob("frozen-*")
    params = variable_folder.load(frozen)["params"]
    assert set(params.pop("text_encoder")["bert"]) == {"embeddings"}
    gate, exchange = params["backbone"], params["decoder"]  # what reaches no logit
    assert gate.keys() == {"layers_3"}
    assert exchange["cross_scale"].keys() == {"fine_to_coarse", "coarse_to_fine"}
    saved = checkpoints.Checkpoints(folder, read_only=True)
    stored = saved._read_meta(8)["arrays"]
    saved.close()
    assert not any("embeddings" in name for name in stored)
    assert any(name.startswith("ema/text_encoder/") for name in stored)


def test_evaluating_the_workdir_gives_the_reported_numbers(trained):
    config, workdir, report, _ = trained
    found = evaluate.evaluate_run(config, str(workdir), "test")
    assert found["splits"]["test"] == report["splits"]["test"]
    assert json.loads((workdir / "metrics_test.json").read_text()) == found


def test_evaluating_nothing_is_refused(tmp_path, tiny_config):
    with pytest.raises(ValueError, match=r"holds no run: there is no config.json"):
        evaluate.evaluate_run(tiny_config, str(tmp_path), "test")


def test_a_run_stopped_by_a_signal_ends_bit_for_bit_like_an_undisturbed_one(
    trained, tmp_path, monkeypatch
):
    config, workdir, report, _ = trained
    make_hooks = train.make_hooks

    def with_a_signal(*args):
        def send(step):
            if step == 3:  # amid an epoch, not validated
                os.kill(os.getpid(), signal.SIGTERM)

        return [*make_hooks(*args), send]

    monkeypatch.setattr(train, "make_hooks", with_a_signal)
    with pytest.raises(preemption.Stopped, match="after step 3 of 8"):
        train.train(config, str(tmp_path))
    monkeypatch.undo()
    saved = checkpoints.Checkpoints(tmp_path / constants.CHECKPOINTS_FOLDER)
    assert saved.steps() == [3]
    assert saved.best_step() is None
    saved.close()
    resumed = train.train(config, str(tmp_path))
    assert resumed == report
    assert_same_checkpoint(workdir, tmp_path, step=8)


def assert_same_checkpoint(one, other, step):
    folders = [folder / constants.CHECKPOINTS_FOLDER for folder in (one, other)]
    saved = [checkpoints.Checkpoints(folder) for folder in folders]
    metas = [s._read_meta(step) for s in saved]
    arrays = [s._read_arrays(step, m["arrays"]) for s, m in zip(saved, metas, strict=True)]
    assert metas[0]["progress"] == metas[1]["progress"]
    assert arrays[0].keys() == arrays[1].keys()
    jax.tree.map(np.testing.assert_array_equal, arrays[0], arrays[1])
    for s in saved:
        s.close()


def test_a_profile_is_traced_after_the_warm_up(tiny_config, tmp_path):
    tiny_config.train.profile_steps = 2
    writer = metric_writer.make_writer(tmp_path)
    hooks = train.make_hooks(tiny_config, tmp_path, writer, total_steps=14)
    for step in range(1, 15):
        for hook in hooks:
            hook(step)
    writer.close()
    assert list(tmp_path.rglob("*.xplane.pb"))
