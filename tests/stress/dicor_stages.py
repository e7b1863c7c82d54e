"""The five commands of DiCoR's card in tiny form, and every training stopped by SIGTERM once more.

  python -m tests.stress.dicor_stages --workdir runs/stages

A training that was stopped amid an epoch and given again must end at the bits of the one that was
left alone: metrics.json, and of the last checkpoint the description, which holds a checksum of
each array, the losses and the score. Compiling the programs takes most of the time; all runs of a
stage share theirs. `tests/models/dicor_stages_test.py` does the same with steps that compile
nothing.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

if __name__ == "__main__":
    # Most of the time is compiling, and XLA's own generator compiles in a tenth of the time.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
    os.environ["JAX_DEFAULT_PRNG_IMPL"] = "rbg"

from rrsis_jax.cli import prompts as prompts_command
from rrsis_jax.cli import train as train_command
from rrsis_jax.evaluation import prompts
from rrsis_jax.evaluation.evaluator import Evaluator
from rrsis_jax.training import initialization, train, train_step
from tests import shell_blocks
from tfds_refsegrs.synthetic import triplets

ROOT = pathlib.Path(__file__).parents[2]
CARD = ROOT / "rrsis_jax/models/dicor/README.md"
STEPS = 8
STOPPED = 3  # amid an epoch, not validated
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


def commands() -> list[tuple[str, ...]]:
    """Returns the words of the commands that the card gives in a row."""
    named = [block for block in shell_blocks.blocks(CARD, ROOT) if "rrsis-prompts" in block.body]
    (block,) = named
    return [command.words for command in shell_blocks.commands(block)]


def give_all(told: Callable[[str], Any]) -> None:
    """Gives all commands in the present folder, which has `scenes`, on smaller networks.

    Args:
      told: gets a line after each command.
    """
    pathlib.Path("configs").mkdir()
    for name, *words in commands():
        began = time.process_time()
        if name == "rrsis-prompts":
            prompts_command.main(words)
        elif (name, words[0]) == ("python", "main.py"):
            config = pathlib.Path(words[1].removeprefix("--config="))
            config.write_text(TINY.format(name=config.stem))
            train_command.main(words[1:])
            again = [word + "_again" * word.startswith("--workdir") for word in words[1:]]
            stop(again)
            train_command.main(again)
        else:
            raise ValueError(f"The card gives a command that is not known here: {name}.")
        told(f"{' '.join([name, *words])}: {time.process_time() - began:.0f} s of processor time")


def stop(words: Sequence[str]) -> None:
    """Gives a training that a signal stops amid an epoch.

    Raises:
      ValueError: if it was not stopped.
    """
    make_hooks = train.make_hooks

    def with_a_signal(*arguments: Any) -> list:
        def send(step: int) -> None:
            if step == STOPPED:
                os.kill(os.getpid(), signal.SIGTERM)

        return [*make_hooks(*arguments), send]

    with mock.patch.object(train, "make_hooks", with_a_signal):
        try:
            train_command.main(words)
        except SystemExit as stopped:
            if stopped.code == 128 + signal.SIGTERM:
                return
    raise ValueError(f"{words} was not stopped by the signal.")


@contextlib.contextmanager
def shared_programs() -> Iterator[None]:
    """Lets all runs of a stage have the same functions; each is traced and compiled once."""
    made: dict[tuple, Any] = {}

    def once(module: Any, name: str, place: int) -> Any:
        """Patches what makes a function of a model, the argument in this place."""
        make = getattr(module, name)

        def shared(*arguments: Any) -> Any:
            key = (make, arguments[place].stage)
            if key not in made:
                made[key] = make(*arguments)
            return made[key]

        return mock.patch.object(module, name, shared)

    with (
        once(train_step, "make_train_fn", 1),
        once(initialization, "random_variables", 0),
        once(train, "Evaluator", 0),
        mock.patch.object(prompts, "Evaluator", lambda *a: made[(Evaluator, a[0].stage)]),
    ):
        yield


def end_of(run: pathlib.Path) -> dict[str, Any]:
    """Returns all that must not depend on a stop."""
    last = run / f"checkpoints/{STEPS}/meta/metadata"
    return {
        "metrics": json.loads((run / "metrics.json").read_text()),
        "checkpoint": json.loads(last.read_text()),
    }


def main() -> None:
    """Gives the commands and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    folder = parser.parse_args().workdir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    triplets.write_folder(folder / "scenes", (3, 1, 1), size=48)
    os.chdir(folder)
    with shared_programs():
        give_all(lambda line: print(line, flush=True))
    different = 0
    for run in sorted(folder.glob("runs/*_again")):
        same = end_of(run) == end_of(run.with_name(run.name.removesuffix("_again")))
        different += not same
        print(f"{run.name}: {'equal' if same else 'DIFFERENT'}", flush=True)
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
