"""Sends hostile and damaged files through every door and looks for anything but clear answers.

  python -m tests.stress.fuzz --cases 2800 --seed 0 --output fuzz.json

A case ends well with a documented error that names the file or key, or with a correct result. Any
other exception, a hang, the end of the process, a write outside of the folder, code that was run
or a wrong result is a failure. Each door's cases run in a process of their own. Prints a table,
writes JSON, and exits with 1 if anything failed.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import resource
import selectors
import subprocess
import sys
import tempfile
import time

from tests.stress import fuzz_case, fuzz_cases

ROOT = pathlib.Path(__file__).resolve().parents[2]
_START_SECONDS = 180.0  # for imports, the door's material and the first case
_CASE_SECONDS = 30.0
_MEMORY_BYTES = 8 << 30  # of a process, so that reading without end fails before the machine does


def work(name: str, seed: int, start: int, stop: int) -> None:
    """Runs cases of a door in this process and writes an outcome a line to standard output."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not mix with the report
    door = fuzz_cases.DOORS[name]
    with tempfile.TemporaryDirectory() as folder:
        arena = pathlib.Path(folder) / "arena"
        (arena / "material").mkdir(parents=True)
        (arena / "outside.txt").write_text("untouched")
        material = door.prepare(arena / "material")
        os.chdir(arena)
        for number in range(start, stop):
            outcome = fuzz_case.attempt(door, material, seed, number, arena)
            report.write(json.dumps([number, *dataclasses.astuple(outcome)]) + "\n")


def run(name: str, seed: int, count: int) -> list[fuzz_case.Outcome]:
    """Runs a door's cases in processes that may end or hang."""
    outcomes: list[fuzz_case.Outcome] = []
    while len(outcomes) < count:
        end = run_process(name, seed, outcomes, count)
        if end:
            outcomes.append(fuzz_case.Outcome("failure", f"case {len(outcomes)}", end))
    return outcomes


def run_process(name: str, seed: int, outcomes: list[fuzz_case.Outcome], count: int) -> str:
    """Appends outcomes until all are there; returns how the process failed, or ""."""
    command = worker_command(name, seed, len(outcomes), count)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log) as process,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(process.stdout, selectors.EVENT_READ)
        patience, pending = _START_SECONDS, b""
        while len(outcomes) < count:
            if not selector.select(patience):
                process.kill()
                return f"hung for {patience:.0f} s"
            found = os.read(process.stdout.fileno(), 65536)
            if not found:
                log.seek(0)
                return f"the process ended with {process.wait()}: {log.read()[-300:]!r}"
            *lines, pending = (pending + found).split(b"\n")
            for line in lines:
                patience = _CASE_SECONDS
                outcomes.append(fuzz_case.Outcome(*json.loads(line)[1:]))
        return ""


def worker_command(name: str, seed: int, start: int, stop: int) -> list[str]:
    """Returns the command of a process that runs cases of a door."""
    command = [sys.executable, "-m", "tests.stress.fuzz", "--seed", str(seed)]
    return [*command, "--worker", name, str(start), str(stop)]


def main() -> None:
    """Runs all doors and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2800, help="over all doors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doors", nargs="+", default=list(fuzz_cases.DOORS), metavar="DOOR")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("fuzz.json"))
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, start, stop = options.worker
        work(name, options.seed, int(start), int(stop))
        return
    report, failed = {}, 0
    print("| door | cases | clear errors | correct results | failures | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.doors:
        began = time.monotonic()
        outcomes = run(name, options.seed, -(-options.cases // len(options.doors)))
        counts = collections.Counter(outcome.kind for outcome in outcomes)
        numbers = [len(outcomes), *(counts[kind] for kind in ("refused", "correct", "failure"))]
        seconds = time.monotonic() - began
        print("|", " | ".join(map(str, [name, *numbers, f"{seconds:.0f}"])), "|", flush=True)
        failures = [
            {"case": number, **dataclasses.asdict(outcome)}
            for number, outcome in enumerate(outcomes)
            if outcome.kind == "failure"
        ]
        report[name] = {**counts, "seconds": round(seconds, 1), "failures": failures}
        failed += len(failures)
    options.output.write_text(json.dumps(report, indent=2, ensure_ascii=True) + "\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
