"""What every benchmark shares: arguments, timing, the machine, a table, a JSON file."""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections

from rrsis_jax.configuration import files

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "grain", "torch")
DEFAULT_CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "lgce_refsegrs.py"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that every benchmark takes."""
    made = argparse.ArgumentParser(description=first_line(description))
    made.add_argument(
        "--config", default=str(DEFAULT_CONFIG), help="a configuration: a name or a .py file"
    )
    made.add_argument("--json", help="file that the result is written to")
    made.add_argument("--repeats", type=int, default=5, help="timed calls; the median counts")
    return made


def first_line(docstring: str | None) -> str | None:
    """Returns the first line of a module's docstring, which `python -OO` leaves out."""
    return docstring and docstring.splitlines()[0]


def load_config(name: str, size: int | None = None) -> ml_collections.ConfigDict:
    """Returns a configuration by name or path, unlocked; see `files.load`.

    Args:
      name: or path.
      size: side of the main image in pixels; None leaves the configuration's.
    """
    config = files.load(name).unlock()
    config.data.image_size = size or config.data.image_size
    return config


def run_inside(module: str, *arguments: str, devices: int | None = None) -> dict[str, Any]:
    """Runs a benchmark in a process of its own and returns the JSON of its last line.

    Args:
      module: the benchmark's name.
      *arguments: its command line.
      devices: CPU devices of the process; None leaves this process's environment.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=None if devices is None else environment_of_devices(devices),
    )
    return json.loads(done.stdout.splitlines()[-1])


def processor_seconds(call: Callable[[], Any]) -> float:
    """Returns the processor time of one call, summed over cores; disturbed less by neighbours."""
    start = time.process_time()
    call()
    return time.process_time() - start


def seconds(call: Callable[[], Any], repeats: int, warm_up: int = 1) -> list[float]:
    """Returns the wall-clock seconds of each of `repeats` calls, after `warm_up` untimed ones.

    Args:
      call: runs once; it must wait for its own result.
      repeats: timed calls.
      warm_up: untimed calls before them.
    """
    for _ in range(warm_up):
        call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def alternate(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Returns the seconds of each call; they take turns, after one untimed round.

    Args:
      calls: by name; each waits for its own result.
      repeats: timed rounds.
      clock: returns seconds; `time.process_time` for those of the processor.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if turn:
                taken[name].append(clock() - start)
    return taken


def spread(taken: Sequence[float]) -> dict[str, float]:
    """Returns median, fastest and slowest of some timings in seconds."""
    return {"seconds": statistics.median(taken), "fastest": min(taken), "slowest": max(taken)}


def environment_of_devices(count: int) -> dict[str, str]:
    """Returns this process's environment, for one that shall have `count` CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags.strip()}


def program_bytes(compiled: Any) -> int:
    """Returns the memory of a compiled program: arguments, results, all in between."""
    sizes = compiled.memory_analysis()
    own = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return own - sizes.alias_size_in_bytes


def machine() -> dict[str, Any]:
    """Returns the processor, its free cores, the system and the versions of what computes."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": versions,
    }


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def report(
    rows: Sequence[dict[str, Any]], arguments: argparse.Namespace, **more: Any
) -> dict[str, Any]:
    """Prints the rows as a table and writes them with machine and settings to `--json`.

    Args:
      rows: one dictionary a row, all with the same keys.
      arguments: of the benchmark.
      **more: further facts for the file, such as the device.

    Returns:
      What the file holds.
    """
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": vars(arguments),
        **more,
        "rows": list(rows),
    }
    print(table(rows), flush=True)
    if arguments.json:
        path = pathlib.Path(arguments.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns rows of equal keys as a Markdown table."""
    header = list(rows[0])
    lines = [header, ["---"] * len(header)]
    lines += [[_cell(row[key]) for key in header] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
