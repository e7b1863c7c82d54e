"""The comparison of levers: what it trains, what it makes of the results."""

import json
import sys

import flax.traverse_util
import pytest

from benchmarks import harness, levers

ARMS = ["paper", "full", *(f"without {name}" for name in levers.LEVERS)]


def report(score):
    splits = {
        "validation": {"mIoU": score},
        "test": {"mIoU": score, "oIoU": 0.5, "P@0.5": 0.25, levers.CHECKS[0]: 0.02},
    }
    history = [{"epoch": epoch, "mIoU": score, "train_loss": 1.0 / epoch} for epoch in (5, 10)]
    return {"splits": splits, "history": history}


def test_every_difference_between_the_recipes_belongs_to_a_lever():
    paper = harness.load_config("lgce_small").to_dict()
    values = flax.traverse_util.flatten_dict(paper, sep=".")
    reset = levers.overrides_to("lgce_small", "lgce_plus_small")
    assert {lever: len(keys) for lever, keys in levers.LEVERS.items()} == {
        lever: len(overrides) for lever, overrides in reset.items()
    }
    for override in sum(reset.values(), ()):
        key, value = override.removeprefix("--config.").split("=")
        assert value == str(values[key])


def test_a_difference_that_no_lever_names_is_refused(tmp_path):
    other = tmp_path / "other.py"
    other.write_text(
        "from rrsis_jax.configs import lgce_small\n"
        "def get_config():\n"
        "  config = lgce_small.get_config()\n"
        "  config.train.epochs = 61.0\n"
        "  return config\n"
    )
    with pytest.raises(ValueError, match=r"train\.epochs.*no lever names"):
        levers.overrides_to("lgce_small", str(other))


def test_finished_runs_become_a_table_and_curves(tmp_path, capsys):
    arms = levers.make_arms("lgce_small", "lgce_plus_small")
    assert [arm.name for arm in arms] == ARMS
    for number, arm in enumerate(arms):
        for seed in (0, 1):
            path = arm.result(tmp_path, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report(0.30 + 0.02 * number + 0.01 * seed)))
    result = levers.main(["--runs", str(tmp_path), "--seeds", "0", "1"])
    assert [row["recipe"] for row in result["rows"]] == ARMS
    assert result["rows"][1]["test mIoU by seed"] == "32.00, 33.00"
    assert result["rows"][1]["test mIoU"] == pytest.approx(32.5)
    assert result["rows"][1][levers.CHECKS[0]] == pytest.approx(2.0)
    assert levers.CHECKS[1] not in result["rows"][1]
    assert (tmp_path / "levers.md").read_text() in capsys.readouterr().out
    assert "<svg" in (tmp_path / "levers.svg").read_text()
    assert len(json.loads((tmp_path / "levers.json").read_text())["rows"]) == len(ARMS)


def test_averaging_is_taken_away_by_evaluating_the_full_runs_again(tmp_path):
    full, *_, last = levers.make_arms("lgce_small", "lgce_plus_small")[1:]
    assert last.workdir(tmp_path, 2) == full.workdir(tmp_path, 2)
    command = last.command(tmp_path, 2, ["--config.data.folder=f"])
    assert command[-3:] == ["--config.data.folder=f", "--mode=evaluate", "--split=test"]
    assert "--config.eval.test_time=none" in command
    assert "--mode=evaluate" not in full.command(tmp_path, 2, [])


def test_runs_share_the_cores_and_a_failure_names_its_log(tmp_path):
    def run(jobs, **codes):
        levers.run_all(
            {tmp_path / name: [sys.executable, "-c", code] for name, code in codes.items()}, jobs
        )

    run(2, a="print('one')", b="print('two')")
    assert (tmp_path / "a").read_text() == "one\n"
    assert (tmp_path / "b").read_text() == "two\n"
    with pytest.raises(RuntimeError, match="c says why"):
        run(1, c="raise SystemExit(3)")


def test_unknown_arms_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        levers.main(["--runs", str(tmp_path), "--arms", "best"])
    assert "there is no arm 'best'" in capsys.readouterr().err
