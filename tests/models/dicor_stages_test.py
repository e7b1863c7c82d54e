"""The five commands of DiCoR's card in tiny form, each training stopped by a signal and resumed.

Only the refiner's network is compiled. The other stages' steps move the norms that they train by
what the batch holds, and their predictions follow the brightness;
`tests/stress/dicor_stages.py` has the real ones.
"""

import dataclasses
import pathlib
from unittest import mock

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.cli import prompts as prompts_command
from rrsis_jax.cli import train as train_command
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import prompts
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.dicor.model import Dicor
from rrsis_jax.training import initialization, optim, train_step
from rrsis_jax.weights import runs, trees
from tests.conftest import random_variables
from tests.stress import dicor_stages
from tests.stress.dicor_stages import STEPS

# ml_collections loads configuration files in a way that Python 3.15 will remove.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

RUNS = {"coarse": "dicor", "refiner": "refiner", "guide": "guide", "joint": "joint"}
REAL = "refiner"


def make_step(config, model, optimizer, real=train_step.make_train_fn):
    """Returns the stage's step, or one that compiles nothing."""
    if model.stage == REAL:
        return real(config, model, optimizer)

    def step(state, batch):
        seen = sum(float(np.mean(x)) for x in jax.tree.leaves(batch)) % 1.0
        trained, _ = optim.split_frozen(state.params, model)
        flat = flax.traverse_util.flatten_dict(trained)
        norms = {path: x for path, x in flat.items() if path[-1] == "scale"}
        step, norms = parallel.unreplicate((state.step, norms))
        moved = {path: np.float32(x + 1e-3 * seen) for path, x in norms.items()}
        step, moved = parallel.replicate((step + 1, flax.traverse_util.unflatten_dict(moved)))
        state = dataclasses.replace(state, step=step, params=trees.join(state.params, moved))
        return state, {"loss": np.full(4, seen), "finite": np.ones(4)}

    return step


def outputs(model, variables, images, text, real=Dicor.outputs):
    """Returns what the network says, or where the image is bright by what is trained."""
    if model.stage == REAL:
        return real(model, variables, images, text)
    level = jnp.mean(images["image"].astype(float), axis=-1) / 255.0
    norm = variables["params"]["decoder"]["mixer"]["blocks_0"]
    norm = norm.get("scales", norm)["norm1"]["scale"]
    return Outputs(level - 1.5 + jnp.mean(norm))


def shapes_of_stage(real=Dicor.shapes):
    """Returns the method that traces the network once a stage."""
    known = {}

    def shapes(model):
        if model.stage not in known:
            known[model.stage] = real(model)
        return known[model.stage]

    return shapes


@pytest.fixture(scope="module")
def walked(scene_folder, tmp_path_factory):
    """The folder in which all commands were given."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "scenes").symlink_to(scene_folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr("rrsis_jax.distributed.startup.start", lambda: None)
        patched.setattr(
            initialization, "random_variables", lambda model, _: random_variables(model)
        )
        patched.setattr(train_step, "make_train_fn", make_step)
        patched.setattr(Dicor, "outputs", outputs)
        patched.setattr(Dicor, "shapes", shapes_of_stage())
        with dicor_stages.shared_programs():
            dicor_stages.give_all(lambda line: None)
        yield folder


def test_the_card_has_the_five_commands_in_a_row():
    first = [words[:2] for words in dicor_stages.commands()]
    training = ("python", "main.py")
    assert [words == training for words in first] == [True, False, True, True, True]
    assert first[1][0] == "rrsis-prompts"


@pytest.mark.parametrize("stage", RUNS)
def test_a_stage_stopped_by_a_signal_ends_at_the_same_bits(walked, stage):
    run, again = (walked / "runs" / f"{RUNS[stage]}{end}" for end in ("", "_again"))
    end = dicor_stages.end_of(run)
    assert dicor_stages.end_of(again) == end
    assert len(end["checkpoint"]["arrays"]) > 5
    assert [record["step"] for record in end["metrics"]["history"]] == [STEPS // 2, STEPS]


def test_a_stage_moves_its_own_part_of_what_it_began_with(walked):
    flat = {
        stage: trees.flatten(runs.best(str(walked / "runs" / run))[1])
        for stage, run in RUNS.items()
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
    carried = "params/decoder/mixer/blocks_0/scales/norm1/scale"
    moved = np.abs(flat["joint"][carried] - coarse[carried.replace("/scales", "", 1)])
    assert 0 < moved.max() <= 1e-3 * STEPS


def test_prompts_are_made_once_a_checkpoint(walked, capsys):
    files = sorted(file.name for file in (walked / "prompts").glob("*.npy"))
    assert files == [f"prompt_{STEPS // 2}.npy", f"prompt_{STEPS}.npy"]
    capsys.readouterr()
    with mock.patch.object(prompts, "_rows", None):  # nothing is computed
        prompts_command.main(["--workdir", "runs/dicor", "--output", "prompts", "--steps", "8"])
    said = capsys.readouterr().out
    assert "prompts/prompt_8.npy: 18 of 18 predictions usable, there already" in said
    assert "18 of 18 training samples have a usable prompt." in said
    assert "--config.data.arrays.prompt=\"('prompts',)\"" in said
    words = ["--workdir", "runs/dicor", "--output", "strict", "--steps", "8", "--iou", "1"]
    prompts_command.main(words)
    assert "0 of 18 training samples have a usable prompt." in capsys.readouterr().out


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
