"""Every command answers `--help` and every mistake in sentences, at once, and says what to do."""

import subprocess
import sys

import pytest
from PIL import Image

from rrsis_jax.cli import compare, export, predict, prompts, report, train, weights
from rrsis_jax.configuration import files, run_folder
from rrsis_jax.evaluation import sample_table
from rrsis_jax.evaluation.sample_table import Sample, SampleTable
from tfds_referring import __main__ as dataset

COMMANDS = {
    "rrsis-train": train.run,
    "rrsis-predict": predict.run,
    "rrsis-export": export.run,
    "rrsis-report": report.run,
    "rrsis-compare": compare.run,
    "rrsis-weights": weights.run,
    "rrsis-prompts": prompts.run,
    "rrsis-dataset": dataset.run,
}
SLOW = {"jax", "tensorflow", "orbax", "transformers", "torch", "rasterio"}
NOT_FOR_HELP = SLOW | {"PIL", "huggingface_hub"}  # a third of a second


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
assert not {NOT_FOR_HELP} & sys.modules.keys(), {NOT_FOR_HELP} & sys.modules.keys()
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
    ("rrsis-train", "--config=absent --workdir=x", "one of the names aeroreformer_refsegrs, "),
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
        "--weights needs --config",
    ),
    (
        "rrsis-predict",
        "--weights {tmp}/x --config quickstart --image {picture} --expression tree --output out",
        "There are no weights {tmp}/x: expected a file, a folder or hf://owner/name",
    ),
    ("rrsis-export", "--workdir {tmp}/absent --output {tmp}/bundle", "holds no run"),
    ("rrsis-export", "--output {tmp} --push me/net --license mit", "is no complete bundle"),
    ("rrsis-report", "--workdir {tmp}/absent", "--mode=evaluate"),
    ("rrsis-compare", "{tmp}/one {tmp}/two", "--mode=evaluate"),
    ("rrsis-weights", "import --from {tmp}/a.pth --config absent --to {tmp}/b", "one of the names"),
    ("rrsis-weights", "import --from {tmp}/a.pth --config quickstart --to {tmp}/b", "a.pth"),
    ("rrsis-weights", "export --from {tmp}/a --config quickstart --to {tmp}/b.pth", "import"),
    ("rrsis-prompts", "--workdir {tmp}/absent --output {tmp}/prompts", "holds no run"),
    ("rrsis-dataset", "audit --manual_dir {tmp}/absent", "absent"),
    ("rrsis-dataset", "audit --data_dir {tmp}/absent", "absent"),
]


@pytest.mark.parametrize(("command", "line", "advice"), MISSING)
def test_what_is_missing_is_named(command, line, advice, tmp_path, picture, monkeypatch, capsys):
    arguments = line.format(tmp=tmp_path, picture=picture).split()
    code, said = ask(command, arguments, monkeypatch, capsys)
    assert code == 1
    assert said.startswith("Error: ")
    assert advice.format(tmp=tmp_path) in said
    assert not (tmp_path / "absent").exists()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


RUN = "--config=quickstart --workdir={tmp}/run"
EARLY = [
    (f"rrsis-train {RUN} --config.train.epochs=-1.0", "train.epochs is -1.0; it must be a number"),
    (f"rrsis-train {RUN} --config.optim.b1=2.0", "optim.b1 is 2.0"),
    ("rrsis-train --config=quickstart --workdir={tmp}/file/run", "{tmp}/file: Not a directory. A"),
    ("rrsis-train --config=quickstart --workdir={tmp}/file", "{tmp}/file: Not a directory. A part"),
    (f"rrsis-train {RUN} --config.seed=3", "seed: 0 in the workdir, 3 now"),
    (f"rrsis-train {RUN} --mode=evaluate --config.seed=3", "seed: 0 in the workdir, 3 now"),
    (f"rrsis-train {RUN} --mode=evaluate", "There is no checkpoint yet in {tmp}/run/checkpoints"),
    ("rrsis-train --config=quickstart --workdir={tmp}/none --mode=evaluate", "holds no run"),
    ("rrsis-report --workdir {tmp}/run", "holds no evaluation of the split 'test'"),
    ("rrsis-report --workdir {tmp}/evaluated --output {tmp}/file/a.html", "file: Not a directory"),
    ("rrsis-report --workdir {tmp}/evaluated", "{tmp}/evaluated holds no run"),
    ("rrsis-compare {tmp}/evaluated {tmp}/run", "run holds no evaluation of the split 'test'"),
    ("rrsis-compare {tmp}/evaluated {tmp}/other", "measured against different masks"),
    ("rrsis-prompts --workdir {tmp}/run --output {tmp}/p", "{tmp}/run is a run of lgce, no later"),
    ("rrsis-prompts --workdir {tmp}/guide --output {tmp}/p", "is a run of the stage 'guide'; pro"),
    ("rrsis-prompts --workdir {tmp}/coarse --output {tmp}/p", "There is no checkpoint yet in"),
]


def test_mistakes_are_answered_before_the_slow_imports(tmp_path):
    (tmp_path / "file").write_text("")
    named = {"run": "quickstart", "coarse": "dicor_coarse_small", "guide": "dicor_guide_small"}
    for folder, config in named.items():
        (tmp_path / folder).mkdir()
        run_folder.save_or_check(files.load(config), tmp_path / folder)
    for name, target in (("evaluated", "0" * 12), ("other", "1" * 12)):
        (tmp_path / name).mkdir()
        sample = Sample(0, "a", "b", "tree", "tree", "class", "small", 0.5, 1, 2, 1, 2, target)
        about = {key: kind() for key, kind in sample_table._ABOUT.items()} | {"split": "test"}
        sample_table.save(SampleTable(about, [sample]), tmp_path / name)
    cases = [(line.format(tmp=tmp_path).split(), said.format(tmp=tmp_path)) for line, said in EARLY]
    code = f"""
import importlib, sys
for (command, *arguments), said in {cases!r}:
    sys.argv = [command, *arguments]
    try:
        importlib.import_module(command.replace("rrsis-", "rrsis_jax.cli.")).run()
    except SystemExit as ended:
        assert str(ended.code).startswith("Error: "), ended.code
        assert said in ended.code, (said, ended.code)
    else:
        raise AssertionError(arguments)
    assert not {SLOW} & sys.modules.keys(), {SLOW} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()
