"""Kills training with SIGKILL, often amid a save, and goes on: the end must be the same bits.

  python -m tests.stress.kill_resume --runs 10 --workdir runs/stress

One undisturbed run is the model. Each further run is killed once or twice and then left alone.
Three of four kills wait for a random step's checkpoint to be begun and strike 0 to 20 ms later, the
others come at a random moment of the process's life. In the end metrics.json (all metrics, the
history, the best step) and the description of every kept checkpoint must equal the undisturbed
run's. The description holds a CRC-32 of each array (parameters, averaged parameters, optimiser,
batch statistics, key, step), the score and the losses since the last validation. Prints one line a
run and exits with 1 if any differs. `--hosts 2` kills both processes of a
run on two hosts.
"""

import argparse
import dataclasses
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

from tests import processes
from tfds_refsegrs.synthetic import triplets

STEPS = 16  # each is validated and saved
OVERRIDES = (
    "--config.data.dataset=refsegrs/folder",
    "--config.model.vision.drop_path_rate=0.2",
    "--config.model.text.dropout=0.1",
    "--config.optim.ema_decay=0.9",
    "--config.train.epochs=4",
    "--config.train.eval_every_epochs=0.25",
    "--config.eval.num_pictures=0",
)
UNFINISHED = "orbax-checkpoint-tmp"  # in the name of a checkpoint that is being written
PATIENCE = 1800.0  # seconds


@dataclasses.dataclass
class Kills:
    """What was done to a run."""

    total: int = 0
    amid_save: int = 0


class Stress:
    """Runs of one configuration in one folder."""

    def __init__(self, folder: pathlib.Path, hosts: int):
        """Writes the scenes that all runs train on."""
        scenes = folder / "scenes"
        triplets.write_folder(scenes, (3, 1, 1), size=48)
        self._folder, self._hosts = folder, hosts
        self._arguments = (
            *OVERRIDES,
            f"--config.data.folder={scenes}",
            f"--config.data.data_dir={folder / 'tfds'}",
        )

    def start(self, name: str) -> list[subprocess.Popen]:
        """Starts the processes of a run, or starts them again."""
        return processes.start(
            self._folder / name, *self._arguments, hosts=self._hosts, devices=4 // self._hosts
        )

    def finish(self, name: str) -> None:
        """Lets a run go on to its end."""
        codes = processes.finish(self.start(name), PATIENCE)
        if any(codes):
            log = processes.log_file(self._folder / name)
            raise SystemExit(f"{name} ended with {codes}; see {log}")

    def kill(self, name: str, rng: random.Random, seconds: float, kills: Kills) -> None:
        """Starts a run and kills it, amid a save or `seconds` at most after its start."""
        left_before, begun = set(self._being_saved(name)), time.monotonic()
        running = self.start(name)
        aimed = rng.random() < 0.75
        target, moment = rng.randrange(1, STEPS), rng.uniform(0.0, seconds)
        while running[0].poll() is None:
            begun_saves = set(self._being_saved(name)) - left_before
            if aimed and any(int(save.partition(".")[0]) >= target for save in begun_saves):
                time.sleep(rng.uniform(0.0, 0.02))
                break
            if not aimed and time.monotonic() - begun > moment:
                break
            time.sleep(0.001)
        if running[0].poll() is None:
            kills.total += 1
        processes.kill(running)
        kills.amid_save += bool(set(self._being_saved(name)) - left_before)

    def _being_saved(self, name: str) -> list[str]:
        """Returns the names of checkpoints that are begun, not finished; they begin by the step."""
        folder = self._folder / name / "checkpoints"
        if not folder.is_dir():
            return []
        return [path.name for path in folder.iterdir() if UNFINISHED in path.name]

    def outcome(self, name: str) -> dict:
        """Returns everything that must not depend on the kills."""
        folder = self._folder / name
        steps = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
        described = {s: (folder / f"checkpoints/{s}/meta/metadata").read_text() for s in steps}
        return {
            "metrics": json.loads((folder / "metrics.json").read_text()),
            "checkpoints": {step: json.loads(text) for step, text in described.items()},
        }


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hosts", type=int, default=1, choices=(1, 2))
    options = parser.parse_args()
    rng, failures = random.Random(options.seed), 0
    shutil.rmtree(options.workdir, ignore_errors=True)
    options.workdir.mkdir(parents=True)
    stress = Stress(options.workdir.absolute(), options.hosts)
    began = time.monotonic()
    stress.finish("undisturbed")
    seconds = time.monotonic() - began
    wanted = stress.outcome("undisturbed")
    print(f"undisturbed: {seconds:.0f} s, checkpoints {list(wanted['checkpoints'])}", flush=True)
    for number in range(options.runs):
        name, kills = f"killed_{number:02d}", Kills()
        for _ in range(rng.choice((1, 2))):
            stress.kill(name, rng, seconds, kills)
        stress.finish(name)
        same = stress.outcome(name) == wanted
        failures += not same
        print(
            f"run {number}: {kills.total} kills, {kills.amid_save} amid a save, "
            f"{'equal' if same else 'DIFFERENT'}",
            flush=True,
        )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
