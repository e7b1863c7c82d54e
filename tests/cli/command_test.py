"""Every command answers `--help` and every mistake in sentences, at once, and says what to do."""

import subprocess
import sys

import pytest
from PIL import Image

from rrsis_jax.cli import compare, export, predict, report, train, weights
from tfds_referring import __main__ as dataset

COMMANDS = {
    "rrsis-train": train.run,
    "rrsis-predict": predict.run,
    "rrsis-export": export.run,
    "rrsis-report": report.run,
    "rrsis-compare": compare.run,
    "rrsis-weights": weights.run,
    "rrsis-dataset": dataset.run,
}
SLOW = {"jax", "tensorflow", "orbax", "transformers", "torch", "rasterio"}


def ask(command, arguments, monkeypatch, capsys):
    """Runs a command in this process; returns its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command]()
    printed = capsys.readouterr()
    code = ended.value.code
    said = f"{code}\n" if isinstance(code, str) else ""  # sys.exit prints it, and ends with 1
    return (1 if said else code), said + printed.out + printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_no_arguments_and_an_unknown_flag(command, monkeypatch, capsys):
    for arguments in ([], ["--nonsense"], ["--nonsense=1", "more"]):
        code, said = ask(command, arguments, monkeypatch, capsys)
        assert code in (1, 2)
        assert said.startswith("Error: ")
        assert f"For example: {command} " in said
        assert f"`{command}" in said
        assert "--help` explains every" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_without_the_slow_imports(command):
    entry = COMMANDS[command]
    code = f"""
import sys
sys.argv = ["{command}", "--help"]
from {entry.__module__} import {entry.__name__}
try:
    {entry.__name__}()
except SystemExit as ended:
    assert ended.code == 0
assert not {SLOW} & sys.modules.keys(), {SLOW} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{command} " in done.stdout
    assert "--" in done.stdout


def test_a_comparison_needs_two_runs(monkeypatch, capsys):
    code, said = ask("rrsis-compare", ["runs/one"], monkeypatch, capsys)
    assert code == 2
    assert "required: OTHER" in said


MISSING = [
    ("rrsis-train", "--config=absent --workdir=x", "one of the names default, "),
    ("rrsis-train", "--config={tmp}/absent.py --workdir=x", "There is no configuration"),
    (
        "rrsis-predict",
        "--workdir {tmp} --image {tmp}/a.png --expression tree --output {tmp}/out",
        "There is no image",
    ),
    (
        "rrsis-predict",
        "--workdir {tmp}/absent --image {picture} --expression tree --output {tmp}/out",
        "holds no run",
    ),
    (
        "rrsis-predict",
        "--bundle {tmp}/absent --image {picture} --expression tree --output {tmp}/out",
        "Make one with `rrsis-export`",
    ),
    (
        "rrsis-predict",
        "--imported {tmp} --image {picture} --expression tree --output {tmp}/out",
        "--imported needs --config",
    ),
    (
        "rrsis-predict",
        "--imported {tmp}/x --config quickstart --image {picture} --expression tree --output out",
        "rrsis-weights import",
    ),
    ("rrsis-export", "--workdir {tmp}/absent --output {tmp}/bundle", "holds no run"),
    ("rrsis-report", "--workdir {tmp}/absent", "--mode=evaluate"),
    ("rrsis-compare", "{tmp}/one {tmp}/two", "--mode=evaluate"),
    ("rrsis-weights", "import --from {tmp}/a.pth --config absent --to {tmp}/b", "one of the names"),
    ("rrsis-weights", "import --from {tmp}/a.pth --config quickstart --to {tmp}/b", "a.pth"),
    ("rrsis-weights", "export --from {tmp}/a --config quickstart --to {tmp}/b.pth", "import"),
    ("rrsis-dataset", "audit --manual_dir {tmp}/absent", "absent"),
    ("rrsis-dataset", "audit --data_dir {tmp}/absent", "absent"),
]


@pytest.mark.parametrize(("command", "line", "advice"), MISSING)
def test_what_is_missing_is_named(command, line, advice, tmp_path, picture, monkeypatch, capsys):
    arguments = line.format(tmp=tmp_path, picture=picture).split()
    code, said = ask(command, arguments, monkeypatch, capsys)
    assert code == 1
    assert said.startswith("Error: ")
    assert advice in said
    assert not (tmp_path / "absent").exists()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"
