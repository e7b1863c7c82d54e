"""The five commands of DiCoR's card in tiny form; every stage once more, stopped by a signal.

Runs of a stage share their programs, which are most of the cost.
"""

import json
import os
import pathlib
import signal

import numpy as np
import pytest

from rrsis_jax.cli import prompts as prompts_command
from rrsis_jax.cli import train as train_command
from rrsis_jax.evaluation import prompts
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.training import initialization, train, train_step
from rrsis_jax.weights import runs, trees
from tests import shell_blocks

# ml_collections loads configuration files in a way that Python 3.15 will remove.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ROOT = pathlib.Path(__file__).parents[2]
CARD = ROOT / "rrsis_jax/models/dicor/README.md"
TINY = """
from rrsis_jax.configs import {name}
from rrsis_jax.models import registry


def get_config():
    config = {name}.get_config()
    model = registry.small("dicor").model
    model.stage = config.model.stage
    model.prompts.iou = model.prompts.area = 0.0  # what is hardly trained predicts little
    config.model = model
    config.data.dataset, config.data.folder = "refsegrs/folder", "scenes"
    config.data.data_dir = "tfds"
    config.data.image_size = 32
    config.train.batch_size = config.eval.batch_size = 4
    config.train.epochs, config.train.eval_every_epochs = 2.0, 1.0
    config.eval.num_pictures = 0
    return config
"""
STAGES = {"coarse": "dicor", "refiner": "refiner", "guide": "guide", "joint": "joint"}
LAST = 8  # step
STOPPED = 3  # amid an epoch, not validated


def commands():
    """Returns the words of the commands that the card gives in a row."""
    (block,) = [block for block in shell_blocks.blocks(CARD, ROOT) if "rrsis-prompts" in block.body]
    return [command.words for command in shell_blocks.commands(block)]


def shared_programs(patched):
    """Lets all runs of a stage have the same functions; each is traced and compiled once."""
    made = {}

    def once(make, model_of):
        def shared(*arguments):
            key = (make, model_of(*arguments).stage)
            if key not in made:
                made[key] = make(*arguments)
            return made[key]

        return shared

    patched.setattr(
        train_step, "make_train_fn", once(train_step.make_train_fn, lambda _, model, __: model)
    )
    patched.setattr(
        initialization,
        "random_variables",
        once(initialization.random_variables, lambda model, _: model),
    )
    evaluators = once(Evaluator, lambda model, _: model)
    for module in (train, prompts):
        patched.setattr(module, "Evaluator", evaluators)


def stopped_and_resumed(words):
    """Gives a command twice; the first time a signal comes amid the training."""
    make_hooks = train.make_hooks

    def with_a_signal(*arguments):
        def send(step):
            if step == STOPPED:
                os.kill(os.getpid(), signal.SIGTERM)

        return [*make_hooks(*arguments), send]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train, "make_hooks", with_a_signal)
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            train_command.main(words)
    train_command.main(words)


@pytest.fixture(scope="module")
def walked(scene_folder, tmp_path_factory):
    """The folder in which all commands were given."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "scenes").symlink_to(scene_folder)
    (folder / "configs").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr("rrsis_jax.distributed.startup.start", lambda: None)
        shared_programs(patched)
        for name, *words in commands():
            if name == "rrsis-prompts":
                prompts_command.main(words)
                continue
            assert (name, words.pop(0)) == ("python", "main.py")
            config = pathlib.Path(words[0].partition("=")[2])
            config.write_text(TINY.format(name=config.stem))
            train_command.main(words)
            stopped_and_resumed([word + "_again" * word.startswith("--workdir") for word in words])
        yield folder


def test_the_card_has_the_five_commands_in_a_row():
    first = [words[:2] for words in commands()]
    training = ("python", "main.py")
    assert [words == training for words in first] == [True, False, True, True, True]
    assert first[1][0] == "rrsis-prompts"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_stopped_by_a_signal_ends_at_the_same_bits(walked, stage):
    run, again = (walked / "runs" / f"{STAGES[stage]}{end}" for end in ("", "_again"))
    assert (run / "metrics.json").read_text() == (again / "metrics.json").read_text()
    described = [
        json.loads((folder / f"checkpoints/{LAST}/meta/metadata").read_text())
        for folder in (run, again)
    ]
    assert described[0] == described[1]  # a checksum of each array, losses and score
    assert len(described[0]["arrays"]) > 5
    report = json.loads((run / "metrics.json").read_text())
    assert [record["step"] for record in report["history"]] == [LAST // 2, LAST]


def test_a_stage_moves_its_own_part_of_what_it_began_with(walked):
    flat = {
        stage: trees.flatten(runs.best(str(walked / "runs" / run))[1])
        for stage, run in STAGES.items()
    }
    coarse = flat["coarse"]
    for stage in ("refiner", "guide"):
        assert {path.split("/")[1] for path in flat[stage].keys() - coarse.keys()} == {stage}
        for path, value in coarse.items():
            np.testing.assert_array_equal(flat[stage][path], value, err_msg=path)
    for path, value in flat["joint"].items():
        part = path.split("/")[1]
        if part in ("guide", "refiner", "backbone", "text_encoder"):
            before = flat[part if part in ("guide", "refiner") else "coarse"][path]
            np.testing.assert_array_equal(value, before, err_msg=path)
    carried = "params/decoder/mixer/blocks_0/scales/attention/in_kernel"
    begun = coarse[carried.replace("/scales", "", 1)]
    moved = np.abs(flat["joint"][carried] - begun)
    assert 0 < moved.max() < 0.1 * np.abs(begun).max()


def test_prompts_are_made_once_a_checkpoint(walked, monkeypatch, capsys):
    files = sorted(file.name for file in (walked / "prompts").glob("*.npy"))
    assert files == [f"prompt_{LAST // 2}.npy", f"prompt_{LAST}.npy"]
    monkeypatch.setattr(prompts, "_rows", None)  # nothing is computed
    capsys.readouterr()
    prompts_command.main(["--workdir", "runs/dicor", "--output", "prompts", "--steps", str(LAST)])
    said = capsys.readouterr().out
    assert f"prompts/prompt_{LAST}.npy: 16 of 16 predictions usable, there already" in said
    assert "16 of 16 training samples have a usable prompt." in said
    assert "--config.data.arrays.prompt=\"('prompts',)\"" in said


@pytest.mark.parametrize(
    ("stage", "starts", "more", "told"),
    [
        ("joint", "'runs/dicor',", (), "brings no weights of guide, refiner: name the run or"),
        ("guide", "'runs/joint',", ("prompt",), "the stage 'guide' needs a coarse network: name"),
        ("refiner", "", ("prompt",), "stage 'refiner' starts from what the stage coarse has tr"),
        ("refiner", "'runs/dicor',", (), r"name their \.npy files in data\.arrays\.prompt"),
        ("joint", "'runs/guide','runs/refiner'", ("prompt",), "prompt is given, and the stage 'j"),
    ],
)
def test_a_start_from_the_wrong_stage_says_which_it_needs(walked, stage, starts, more, told):
    words = [f"--config=configs/dicor_{stage}_refsegrs.py", "--workdir=runs/wrong"]
    words += [f"--config.init_from=({starts})"]
    words += [f"--config.data.arrays.{name}=('prompts',)" for name in more]
    with pytest.raises(ValueError, match=told):
        train_command.main(words)
    assert not pathlib.Path("runs/wrong").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workdir", "runs/joint"], "runs/joint is a run of the stage 'joint'; prompts are made"),
        (["--workdir", "runs/dicor", "--steps", "5"], r"no checkpoint of step 5; it has 4, 8\. Ch"),
    ],
)
def test_prompts_of_the_wrong_run_are_refused(walked, words, told):
    with pytest.raises(ValueError, match=told):
        prompts_command.main([*words, "--output", "others"])
    assert not pathlib.Path("others").exists()
