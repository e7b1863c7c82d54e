"""The command line says what to do next, for every way to get it wrong."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = "--config=configs/quickstart.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ([], "--config"),
        ([CONFIG], "--workdir"),
        ([CONFIG, "--workdir=x", "train"], "Unexpected argument(s): train"),
        ([CONFIG, "--workdir=x", "--mode=fly"], "train|evaluate"),
        (["--config=configs/nowhere.py", "--workdir=x"], "configs/nowhere.py"),
        ([CONFIG, "--workdir=x", "--config.optim.learning_rat=1"], 'Did you mean "learning_rate"'),
        ([CONFIG, "--workdir=x", "--config.train.batch_size=many"], "many"),
        ([CONFIG, "--workdir={tmp}", "--mode=evaluate"], "holds no run"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(arguments, advice, tmp_path):
    done = run(*(a.replace("{tmp}", str(tmp_path)) for a in arguments))
    assert done.returncode != 0
    assert advice in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_help_names_the_flags():
    done = run("--help")
    for flag in ("--config", "--workdir", "--mode", "--split"):
        assert flag in done.stdout + done.stderr
