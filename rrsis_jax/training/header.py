"""What a training tells of itself before its first step, and after its last."""

import pathlib

import jax
import ml_collections
from clu import parameter_overview

import rrsis_jax
from rrsis_jax import io
from rrsis_jax.data.run_data import RunData
from rrsis_jax.distributed import hosts
from rrsis_jax.terminal import words
from rrsis_jax.terminal.lines import Screen
from rrsis_jax.training.plan import Plan
from rrsis_jax.types import Params

PARAMETERS = "parameters.txt"
"""The table of a run's parameters, inside its folder."""


def show_start(shown: Screen, config: ml_collections.ConfigDict, folder: pathlib.Path) -> None:
    """Shows what is known before the data are: the run, its devices and how they compute."""
    batch = f"{config.train.batch_size} images a step"
    if config.optim.accumulate_steps > 1:
        batch += f" in {config.optim.accumulate_steps} parts"
    shown.fact("rrsis_jax", rrsis_jax.__version__)
    shown.fact("run", words.path(folder))
    shown.fact("devices", hosts.devices_in_words())
    shown.fact(
        "computes",
        f"{config.model.get('dtype', 'float32')}, {batch} of {config.data.image_size} pixels",
    )


def show_rest(shown: Screen, data: RunData, params: Params, plan: Plan, start: int) -> None:
    """Shows the data and the network with their sizes, and where the run begins.

    Args:
      shown: the screen.
      data: opened.
      params: the network's, of any kind of array.
      plan: the lengths of the run.
      start: the last step that is done.
    """
    sizes = (f"{data.num_samples(name)} {name}" for name in data.builder.info.splits)
    number = sum(leaf.size for leaf in jax.tree.leaves(params))
    epochs = f"{plan.total / plan.steps_per_epoch:.3g} epochs"
    shown.fact("data", f"{data.builder.info.full_name}: {', '.join(sizes)}")
    shown.fact("network", f"{data.config.model.name}, {words.count(number)} parameters")
    begins = f"going on from step {start}" if start else "new"
    shown.fact("plan", f"{plan.total} steps in {epochs}, {begins}")


def show_next(shown: Screen, data: RunData, folder: pathlib.Path) -> None:
    """Shows the commands that make something of a finished run."""
    split = next(s for s in ("test", "validation") if s in data.builder.info.splits)
    name, run = data.evaluated(split)[0], words.path(folder)
    shown.commands("a page", f"rrsis-report --workdir {run} --split {name}")
    shown.commands(
        "a mask",
        f"rrsis-predict --workdir {run} --image FILE",
        "--expression TEXT --output FOLDER",
    )


def write_parameters(folder: pathlib.Path, params: Params) -> None:
    """Writes names, shapes and sizes of all parameters to the run's folder.

    Raises:
      OSError: see `io.write_text`.
    """
    table = parameter_overview.get_parameter_overview(params, include_stats=False)
    io.write_text(folder / PARAMETERS, f"{table}\n")
