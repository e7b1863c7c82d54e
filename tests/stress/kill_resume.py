"""Kills main.py with SIGKILL at random moments until the run is through, again and again.

  python tests/stress/kill_resume.py --runs 10 --workdir runs/stress

One undisturbed run is the model. Each further run is killed at random moments (while it starts,
trains, validates or saves) and started again until it ends; then its last checkpoint, its metric
history and its report must equal the undisturbed run's, bit for bit. Prints one line a run and
exits with 1 if any differs.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVERRIDES = [
    "--config.data.image_size=32",
    "--config.model.vision.depths=(1,1,1,1)",
    "--config.model.vision.window_size=4",
    "--config.model.vision.drop_path_rate=0.2",
    "--config.model.text.dropout=0.1",
    "--config.optim.ema_decay=0.9",
    "--config.train.epochs=0.4",
    "--config.train.eval_every_epochs=0.05",
    "--config.eval.num_pictures=0",
]


def start(workdir: pathlib.Path) -> subprocess.Popen:
    """Starts the training process, its output going to the workdir's log."""
    workdir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "main.py", "--config=configs/quickstart.py", f"--workdir={workdir}"]
    with open(workdir / "log.txt", "a") as log:
        return subprocess.Popen([*command, *OVERRIDES], cwd=ROOT, stdout=log, stderr=log)


def run_killed(workdir: pathlib.Path, longest: float, rng: random.Random) -> int:
    """Runs to the end under kills; returns their number."""
    kills = 0
    while True:
        process = start(workdir)
        try:
            code = process.wait(timeout=rng.uniform(0.3, 1.0) * longest)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        if code:
            raise SystemExit(f"main.py failed with {code}; see {workdir / 'log.txt'}")
        return kills


def outcome(workdir: pathlib.Path) -> dict:
    """Returns everything that must not depend on the kills."""
    steps = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    metas = {step: (workdir / f"checkpoints/{step}/meta/metadata").read_text() for step in steps}
    return {"metrics": json.loads((workdir / "metrics.json").read_text()), "checkpoints": metas}


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    shutil.rmtree(options.workdir, ignore_errors=True)
    whole = options.workdir / "undisturbed"
    run_killed(whole, longest=3600.0, rng=rng)  # fills the compilation cache
    shutil.rmtree(whole)
    began = time.monotonic()
    run_killed(whole, longest=3600.0, rng=rng)
    seconds = time.monotonic() - began
    wanted, failures = outcome(whole), 0
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    for number in range(options.runs):
        workdir = options.workdir / f"killed_{number:02d}"
        kills = run_killed(workdir, longest=seconds, rng=rng)
        same = outcome(workdir) == wanted
        failures += not same
        print(f"run {number}: {kills} kills, {'equal' if same else 'DIFFERENT'}", flush=True)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
