"""Which lever pays: the paper's recipe, the full recipe, and the full one without each lever.

  python -m benchmarks.levers --runs runs/levers -- --config.data.folder=FOLDER

Trains every arm with every seed through `main.py`; what follows `--` goes to all of them. Each
run's checkpoint is chosen on validation. Test-time averaging needs no training of its own: without
it, the full recipe's checkpoints are evaluated again. A run that is finished is not repeated, an
interrupted one goes on. The folder then holds `levers.json`, `levers.md` (the table) and
`levers.svg` (the curves).
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import queue
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import flax.traverse_util
import matplotlib.figure

from benchmarks import harness

ROOT = pathlib.Path(__file__).parents[1]
LEVERS = {
    "model": ("model.guide.over_words", "model.guide.live"),
    "loss": ("loss.dice_weight",),
    "augmentation": (
        "data.augment.geometry",
        "data.augment.crop_scale",
        "data.augment.photometric",
    ),
    "optimisation": (
        "optim.learning_rate",
        "optim.warmup_steps",
        "optim.clip_norm",
        "optim.ema_decay",
        "optim.groups.text_scale",
        "optim.groups.decay_matrices_only",
        "model.vision.drop_path_rate",
        "model.text.dropout",
    ),
    "test-time averaging": ("eval.test_time",),
}
"""What the full recipe sets otherwise than the paper's, by lever."""
ONLY_EVALUATED = "test-time averaging"
METRICS = ("mIoU", "oIoU", "P@0.5")
CHECKS = ("mIoU, phrases shuffled", "none, phrases absent")
"""Of the language, where a run made them."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """A recipe to be trained and evaluated.

    Attributes:
      name: as the table shows it.
      config: name of the configuration.
      overrides: command-line overrides of it.
      runs_of: the arm whose runs are evaluated again; "" if this one is trained itself.
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    runs_of: str = ""

    def command(self, folder: pathlib.Path, seed: int, shared: Sequence[str]) -> list[str]:
        """Returns the command that trains or evaluates this arm with a seed."""
        return [
            sys.executable,
            str(ROOT / "main.py"),
            f"--config={ROOT / 'configs' / self.config}.py",
            f"--workdir={self.workdir(folder, seed)}",
            f"--config.seed={seed}",
            "--config.eval.num_pictures=0",
            *self.overrides,
            *shared,
            *(("--mode=evaluate", "--split=test") if self.runs_of else ()),
        ]

    def workdir(self, folder: pathlib.Path, seed: int) -> pathlib.Path:
        """Returns the folder of a run."""
        return folder / (self.runs_of or self.name).replace(" ", "_") / str(seed)

    def result(self, folder: pathlib.Path, seed: int) -> pathlib.Path:
        """Returns the file that a run ends with."""
        name = "metrics_test.json" if self.runs_of else "metrics.json"
        return self.workdir(folder, seed) / name


def make_arms(paper: str, full: str) -> list[Arm]:
    """Returns the paper's recipe, the full one, and the full one without each lever."""
    reset = overrides_to(paper, full)
    without = [
        Arm(f"without {name}", full, reset[name], "full" if name == ONLY_EVALUATED else "")
        for name in LEVERS
    ]
    return [Arm("paper", paper), Arm("full", full), *without]


def overrides_to(paper: str, full: str) -> dict[str, tuple[str, ...]]:
    """Returns for each lever the overrides that take it back to the paper's value.

    Raises:
      ValueError: if the recipes differ in a key that no lever names.
    """
    before, after = (_keys(name) for name in (paper, full))
    differing = {key for key in before if before[key] != after[key]}
    unnamed = differing.difference(*LEVERS.values())
    if unnamed:
        raise ValueError(f"{full} differs from {paper} in {sorted(unnamed)}, which no lever names.")
    return {
        lever: tuple(f"--config.{key}={before[key]}" for key in keys)
        for lever, keys in LEVERS.items()
    }


def _keys(name: str) -> dict[str, Any]:
    config = harness.load_config(name).to_dict()
    return flax.traverse_util.flatten_dict(config, sep=".")


def run_all(commands: dict[pathlib.Path, Sequence[str]], jobs: int) -> None:
    """Runs commands by log file, `jobs` at a time, each on cores of its own (Linux).

    Raises:
      RuntimeError: if one fails; those that run end first.
    """
    free: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for cores in _shares(sorted(os.sched_getaffinity(0)), jobs):
        free.put(cores)

    def run(log: pathlib.Path, command: Sequence[str]) -> None:
        cores = free.get()
        os.sched_setaffinity(0, cores)  # of this thread, which the process inherits
        print(shlex.join(command), flush=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("a") as file:
                done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
        finally:
            free.put(cores)
        if done.returncode:
            raise RuntimeError(f"A run failed; {log} says why. The same command goes on.")

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, commands.keys(), commands.values()))


def _shares(cores: list[int], jobs: int) -> Iterator[set[int]]:
    for job in range(jobs):
        yield set(cores[job::jobs]) or set(cores)


def row(arm: Arm, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns an arm's row of the table: scores in percent, over the seeds.

    Args:
      arm: the arm.
      reports: what each seed's result file holds.
    """
    test = [report["splits"]["test"] for report in reports]
    scores = [100 * split["mIoU"] for split in test]
    made = {
        "recipe": arm.name,
        "test mIoU by seed": ", ".join(f"{score:.2f}" for score in scores),
        **{f"test {name}": statistics.mean(100 * s[name] for s in test) for name in METRICS},
    }
    made |= {
        check: statistics.mean(100 * split[check] for split in test)
        for check in CHECKS
        if all(check in split for split in test)
    }
    return made


def draw(curves: dict[str, list[list[dict[str, Any]]]], path: pathlib.Path) -> None:
    """Draws validation mIoU and training loss by epoch: the mean over seeds, and each seed thin.

    Args:
      curves: by arm, for each seed the records of `metrics.json`.
      path: the SVG file.
    """
    figure = matplotlib.figure.Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (key, label, scale) in zip(
        figure.subplots(1, 2),
        (("mIoU", "validation mIoU, %", 100), ("train_loss", "training loss", 1)),
        strict=True,
    ):
        for number, (name, seeds) in enumerate(curves.items()):
            values = [[scale * record[key] for record in seed] for seed in seeds]
            epochs = [record["epoch"] for record in seeds[0]]
            for one in values:
                axes.plot(epochs, one, color=f"C{number}", linewidth=0.5, alpha=0.5)
            mean = [statistics.mean(at) for at in zip(*values, strict=True)]
            axes.plot(epochs, mean, color=f"C{number}", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def main(argv: list[str] | None = None) -> dict:
    """Trains what is missing and returns what `levers.json` holds."""
    parser = argparse.ArgumentParser(description=harness.first_line(__doc__))
    parser.add_argument("--runs", required=True, help="folder of the runs and of the result")
    parser.add_argument("--paper", default="lgce_small", help="configuration of the paper's recipe")
    parser.add_argument("--full", default="lgce_plus_small", help="configuration of the full one")
    parser.add_argument("--arms", nargs="+", help="names of the arms to train; all if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    parser.add_argument("shared", nargs="*", help="after --: overrides for every run")
    arguments = parser.parse_args(argv)
    folder = pathlib.Path(arguments.runs).absolute()
    arms = make_arms(arguments.paper, arguments.full)
    known = [arm.name for arm in arms]
    for name in set(arguments.arms or ()) - set(known):
        parser.error(f"there is no arm {name!r}; choose of {known}")
    arms = [arm for arm in arms if arm.name in (arguments.arms or known)]

    for trained in (True, False):
        run_all(
            {
                arm.workdir(folder, seed).with_suffix(".log"): arm.command(
                    folder, seed, arguments.shared
                )
                for seed in arguments.seeds
                for arm in arms
                if trained != bool(arm.runs_of) and not arm.result(folder, seed).is_file()
            },
            arguments.jobs,
        )
    reports = {
        arm: [json.loads(arm.result(folder, seed).read_text()) for seed in arguments.seeds]
        for arm in arms
    }
    draw(
        {
            arm.name: [report["history"] for report in of_arm]
            for arm, of_arm in reports.items()
            if not arm.runs_of
        },
        folder / "levers.svg",
    )
    rows = [row(arm, of_arm) for arm, of_arm in reports.items()]
    arguments.json = str(folder / "levers.json")
    (folder / "levers.md").write_text(harness.table(rows) + "\n")
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()
