"""A checkpoint to files: metrics, table of samples, Markdown, and the page made of them."""

import json

import numpy as np
import pytest

from rrsis_jax import constants
from rrsis_jax.configuration import run_folder
from rrsis_jax.evaluation import evaluate, sample_table
from rrsis_jax.evaluation.scores import COLUMNS, LANGUAGE_CHECK, table
from rrsis_jax.models import registry
from rrsis_jax.reporting import report
from rrsis_jax.weights.checkpoints import CheckpointError, Checkpoints
from tests import small_config
from tests.conftest import random_variables


@pytest.fixture(scope="module")
def run(scene_folder, tmp_path_factory):
    """A run evaluated with a stand-in for the network: (config, workdir, report)."""
    workdir = tmp_path_factory.mktemp("run")
    config = small_config.get_config()
    config.data.dataset = "refsegrs/folder"
    config.data.folder = str(scene_folder)
    config.data.data_dir = str(tmp_path_factory.mktemp("tfds"))
    run_folder.save_or_check(config, workdir)
    saved = Checkpoints(workdir / constants.CHECKPOINTS_FOLDER)
    saved.save(7, random_variables(registry.build(config)), {}, score=0.1)
    saved.close()
    return config, workdir, evaluate.evaluate_run(config, str(workdir), "test")


def test_a_report_names_its_checkpoint_and_configuration(run):
    config, workdir, found = run
    assert found["best_step"] == 7
    assert found["config_sha256"] == run_folder.config_hash(config)
    stored = run_folder.load(workdir)
    assert run_folder.config_hash(stored) == found["config_sha256"]
    config.seed, seed = 99, config.seed
    assert run_folder.config_hash(config) != found["config_sha256"]
    config.seed = seed


def test_all_numbers_derive_from_the_table(run):
    _, workdir, found = run
    table = sample_table.load(workdir, "test")
    scores = found["splits"]["test"]
    iou = [s.paper_intersection / max(s.paper_union, 1) for s in table.samples]
    assert scores["mIoU"] == pytest.approx(np.mean(iou))
    assert scores["P@0.5"] == np.mean(np.array(iou) >= 0.5)
    overall = sum(s.native_intersection for s in table.samples) / sum(
        s.native_union for s in table.samples
    )
    assert scores["native"]["oIoU"] == pytest.approx(overall)
    assert scores["samples"] == len(table.samples)
    assert table.about["checkpoint_step"] == 7
    assert table.about[LANGUAGE_CHECK] == scores[LANGUAGE_CHECK]
    for protocol in (scores, scores["native"]):
        for name in ("oIoU", "mIoU"):
            low, high = protocol[f"{name} interval"]
            assert low <= protocol[name] <= high
    for column, parts in scores["breakdowns"].items():
        assert set(parts) == set(table.column(column))
        assert sum(part["samples"] for part in parts.values()) == len(table.samples)


def test_files_of_an_evaluation(run):
    _, workdir, found = run
    assert json.loads((workdir / "metrics_test.json").read_text()) == found
    text = (workdir / "metrics_test.md").read_text()
    assert text.startswith("| split | protocol | samples | oIoU | mIoU |")
    for name in COLUMNS:
        assert f"- {name}: " in text
    assert f"checkpoint 7, configuration {found['config_sha256'][:12]}" in text
    masks = list((workdir / "predictions_test").iterdir())
    assert len(masks) == 2 * found["splits"]["test"]["samples"]  # and at the masks' own size


def test_a_table_in_percent():
    part = {**dict.fromkeys(COLUMNS, 0.25), "samples": 4, "oIoU interval": [0.125, 0.5]}
    text = table({"test": {**part, "native": part, LANGUAGE_CHECK: 0.01}})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[2][:6] == ["test", "paper", "4", "25.00 [12.50, 50.00]", "25.00", "25.00"]
    assert (rows[2][-1], rows[3][1], rows[3][-1]) == ("1.00", "native", "")


def test_an_evaluated_run_has_a_page(run):
    path = report.write_report(run[1], "test", pictures=1)
    assert "checkpoint" in path.read_text(encoding="utf-8")


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    saved = Checkpoints(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no validated checkpoint yet\. Train first"):
        evaluate.best_variables(saved)
    saved.close()
