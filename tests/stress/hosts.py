"""The same training on 1, 2, 4 and 8 CPU devices, on two hosts, and moved from one to the other.

  python -m tests.stress.hosts --workdir runs/scale

Ten steps of the tiny network without dropout, by main.py. Prints, for each setup, by how much it
differs from the run on one device: the largest relative difference of a step's loss, and the
largest difference of a sample's count of pixels after the last step, which all metrics are made of.
Exits with 1 if a loss differs by more than 1e-4 or a count by more than two pixels: round-off may
carry a pixel over the boundary, and of 32 × 32 pixels one is a thousandth. The last row is stopped
on eight devices after four steps and goes on on two. `tests.stress.kill_resume --hosts 2` kills two
hosts.
"""

import argparse
import json
import pathlib
import shutil
import signal
import sys
import time

import numpy as np

from rrsis_jax.evaluation import sample_table
from tests import processes
from tfds_refsegrs.synthetic import triplets

OVERRIDES = (
    "--config.data.dataset=refsegrs/folder",
    "--config.model.text.dropout=0.0",
    "--config.model.vision.drop_path_rate=0.0",
    "--config.optim.learning_rate=5e-5",
    "--config.train.batch_size=8",
    "--config.train.epochs=5",  # of two steps
    "--config.train.eval_every_epochs=0.5",
    "--config.eval.batch_size=8",
    "--config.eval.num_pictures=2",
)
SETUPS = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 2))  # hosts, devices of each
COUNTS = ("paper_intersection", "paper_union", "native_intersection", "native_union")
STEPS, LOSS_LIMIT, PIXEL_LIMIT, PATIENCE = 10, 1e-4, 2, 1800.0


def losses(workdir: pathlib.Path) -> np.ndarray:
    """Returns the training loss of each step."""
    history = json.loads((workdir / "metrics.json").read_text())["history"]
    return np.array([record["train_loss"] for record in history])


def pixels(workdir: pathlib.Path) -> np.ndarray:
    """Returns intersection and union of all evaluated samples, by both protocols."""
    tables = [sample_table.load(workdir, split) for split in ("validation", "test")]
    return np.array([[table.column(name) for name in COUNTS] for table in tables])


def finish(running: list, workdir: pathlib.Path, expected: int = 0) -> None:
    """Waits for the processes of a run."""
    codes = processes.finish(running, PATIENCE)
    if set(codes) != {expected}:
        raise SystemExit(f"ended with {codes}; see {processes.log_file(workdir)}")


def stop_after(step: int, running: list, workdir: pathlib.Path) -> None:
    """Stops a run by SIGTERM as soon as the checkpoint of `step` is there."""
    while not (workdir / "checkpoints" / str(step)).is_dir() and running[0].poll() is None:
        time.sleep(0.01)
    running[0].send_signal(signal.SIGTERM)
    finish(running, workdir, expected=128 + signal.SIGTERM)


def main() -> None:
    """Runs all setups and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    folder = parser.parse_args().workdir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    triplets.write_folder(folder / "scenes", (3, 1, 1), size=48)
    arguments = (
        *OVERRIDES,
        f"--config.data.folder={folder / 'scenes'}",
        f"--config.data.data_dir={folder / 'tfds'}",
    )
    model, differs = folder / "1x1", False

    def report(name: str, workdir: pathlib.Path) -> None:
        nonlocal differs
        assert len(losses(workdir)) == STEPS
        loss = np.abs(losses(workdir) / losses(model) - 1.0).max()
        count = np.abs(pixels(workdir) - pixels(model)).max()
        differs |= loss > LOSS_LIMIT or count > PIXEL_LIMIT
        print(f"| {name} | {loss:.1e} | {count} |", flush=True)

    print("| setup | losses | pixels |\n| --- | --- | --- |", flush=True)
    for hosts, devices in SETUPS:
        workdir = folder / f"{hosts}x{devices}"
        finish(processes.start(workdir, *arguments, hosts=hosts, devices=devices), workdir)
        report(f"{hosts} host(s) with {devices} device(s)", workdir)
    workdir = folder / "moved"
    stop_after(4, processes.start(workdir, *arguments, devices=8), workdir)
    finish(processes.start(workdir, *arguments, devices=2), workdir)
    report("8 devices, then 2", workdir)
    sys.exit(bool(differs))


if __name__ == "__main__":
    main()
