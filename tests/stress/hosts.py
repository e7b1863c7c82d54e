"""The same training on 1, 2, 4 and 8 CPU devices, on two hosts, and moved from one to the other.

  python -m tests.stress.hosts --workdir runs/scale

Ten steps of the tiny network without dropout, by main.py. Prints, for each setup, the largest
relative difference of a step's loss and of any reported metric to the run on one device, and
exits with 1 if one is above 1e-4. The last row is stopped on eight devices after four steps and
goes on on two. `tests.stress.kill_resume --hosts 2` kills two hosts.
"""

import argparse
import json
import pathlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator

from tests import processes
from tfds_refsegrs import synthetic

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
STEPS, LIMIT, PATIENCE = 10, 1e-4, 1800.0


def numbers(tree: dict | list | float, path: str = "") -> Iterator[tuple[str, float]]:
    """Yields all numbers of a report with their places."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from numbers(value, f"{path}/{key}")
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from numbers(value, f"{path}/{index}")
    elif isinstance(tree, int | float):
        yield path, tree


def difference(found: dict, wanted: dict, losses: bool) -> float:
    """Returns the largest relative difference of the losses, or of all other numbers."""
    pairs = zip(numbers(found), numbers(wanted), strict=True)
    return max(
        abs(one - other) / max(abs(other), 1e-12)
        for (place, one), (_, other) in pairs
        if place.endswith("train_loss") == losses
    )


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
    synthetic.write_folder(folder / "scenes", (3, 1, 1), size=48)
    arguments = (
        *OVERRIDES,
        f"--config.data.folder={folder / 'scenes'}",
        f"--config.data.data_dir={folder / 'tfds'}",
    )
    reports, worst = {}, 0.0

    def report(name: str, workdir: pathlib.Path) -> None:
        nonlocal worst
        found = json.loads((workdir / "metrics.json").read_text())
        reports[name] = {key: found[key] for key in ("best_step", "history", "splits")}
        wanted = next(iter(reports.values()))
        assert len(wanted["history"]) == STEPS
        losses, metrics = (difference(reports[name], wanted, kind) for kind in (True, False))
        worst = max(worst, losses, metrics)
        print(f"| {name} | {losses:.1e} | {metrics:.1e} |", flush=True)

    print("| setup | losses | metrics |\n| --- | --- | --- |", flush=True)
    for hosts, devices in SETUPS:
        workdir = folder / f"{hosts}x{devices}"
        finish(processes.start(workdir, *arguments, hosts=hosts, devices=devices), workdir)
        report(f"{hosts} host(s) with {devices} device(s)", workdir)
    workdir = folder / "moved"
    stop_after(4, processes.start(workdir, *arguments, devices=8), workdir)
    finish(processes.start(workdir, *arguments, devices=2), workdir)
    report("8 devices, then 2", workdir)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
