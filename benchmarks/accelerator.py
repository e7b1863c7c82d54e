"""One command on a bare accelerator machine: what matters most first, each result written at once.

  python -m benchmarks.accelerator --json out/accelerator.json --minutes 8
  python -m benchmarks.accelerator --list-wheels

Takes jax, flax, optax, numpy and the few packages that `--list-wheels` names; neither TensorFlow
nor TFDS, CLU, Grain or Orbax. The file is whole after every result, so a run that is cut off leaves
all that it had. What PyTorch and the input pipeline are asked is left out where they are not
installed. `--tiny` runs every part in the smallest size, to try it on a CPU.
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from benchmarks import costliest, harness, inference, parity, programs, tiny, train_step
from benchmarks.journal import Journal
from benchmarks.wheels import travelling_wheels
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry

GRACE = 30  # seconds that a measurement may last beyond the time


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the measurements are."""

    training: tuple[int, ...] = (8, 16, 32, 64, 128)
    inference: tuple[int, ...] = (1, 8, 32, 128)
    others: tuple[int, ...] = (32, 8, 2)  # of the networks but the first; the largest that fits
    matrix: int = 8192
    megabytes: int = 1024
    repeats: int = 5
    processes: tuple[str, int] = ("quickstart", 128)  # configuration and side of their step
    patience: float = 120  # seconds for a measurement in processes of its own
    tiny: bool = False


TINY = Sizes((2,), (2,), (2,), 256, 16, 2, (tiny.__file__, tiny.SIDE), 300, True)
FIRST = "lgce"
TINY_MODELS = (FIRST, "lavt")


def load(name: str, sizes: Sizes, **values: Any) -> ml_collections.ConfigDict:
    """Returns the recipe of a model's paper, or its smallest size, with some values changed."""
    config = tiny.get_config(name) if sizes.tiny else harness.load_config(registry.recipe(name))
    config.update_from_flattened_dict(values)
    return config


def measure_peaks(journal: Journal, sizes: Sizes) -> tuple[float | None, float]:
    """Measures matrix products and memory; returns the bfloat16 peak and bytes a second."""

    def product(dtype: str, precision: str) -> dict:
        a = jnp.ones((sizes.matrix, sizes.matrix), dtype)
        run = jax.jit(lambda a: jnp.matmul(a, a, precision=precision))
        taken = harness.spread(
            harness.seconds(lambda: jax.block_until_ready(run(a)), sizes.repeats)
        )
        return {**taken, "FLOP/s": 2 * sizes.matrix**3 / taken["fastest"]}

    def copy() -> dict:
        x = jnp.zeros(sizes.megabytes * 2**18, jnp.float32)
        run = jax.jit(lambda x: x + 1)
        taken = harness.spread(
            harness.seconds(lambda: jax.block_until_ready(run(x)), sizes.repeats)
        )
        return {**taken, "bytes/s": 2 * x.nbytes / taken["fastest"]}

    peak = journal.measure("peak", lambda: product("bfloat16", "default"), dtype="bfloat16")
    journal.measure("peak", lambda: product("float32", "highest"), dtype="float32")
    moved = journal.measure("peak", copy, what="memory")
    return peak["FLOP/s"] if peak else None, moved["bytes/s"] if moved else float("inf")


def measure_parity(journal: Journal, names: Sequence[str]) -> None:
    """Compares recordings with what this device computes."""
    for name in names:
        for dtype, call in parity.measure(name):
            journal.measure("parity", call, recording=name, dtype=dtype)


def measure_speed(
    journal: Journal,
    sizes: Sizes,
    peak: float | None,
    name: str,
    batches: Mapping[str, Sequence[int]],
    largest: bool = False,
    **values: Any,
) -> dict[str, dict]:
    """Measures training step and forward pass.

    Args:
      journal: of the run.
      sizes: of the measurements.
      peak: FLOP/s of a device, as measured.
      name: of the model.
      batches: of a device, for the keys "training step" and "forward pass".
      largest: whether one batch is enough, the first that fits; else until one does not fit.
      **values: of the configuration, by their dotted keys.

    Returns:
      The last row of each that was measured.
    """
    rows = {}
    for what, module in (("training step", train_step), ("forward pass", inference)):
        devices = jax.device_count() if module is train_step else 1

        def call(batch: int, module: Any = module, devices: int = devices) -> dict:
            config = load(name, sizes, **values)
            row = module.measure(config, batch, sizes.repeats)
            work = 1e9 * (row["GFLOP, by hand"] or row["GFLOP, traced"]) / devices
            share = work / row["seconds"] / peak if peak else None
            return {**row, "share of the measured peak": share}

        for share in batches.get(what, ()):
            batch = share * devices
            case = {"model": name, "batch": batch, **values}
            row = journal.measure(what, functools.partial(call, batch), **case)
            if row:
                rows[what] = row
            if (row is None) != largest:
                break
    return rows


def measure_phrases(journal: Journal, sizes: Sizes, name: str, phrases: int = 10) -> None:
    """Measures one image with several phrases, encoded once."""

    def call() -> dict:
        config = load(name, sizes, **{"model.dtype": "bfloat16"})
        return inference.measure(config, 1, sizes.repeats, phrases)

    journal.measure("phrases", call, model=name, phrases=phrases)


def measure_profile(journal: Journal, sizes: Sizes, bandwidth: float, name: str) -> None:
    """Names the costliest operations of a training step."""
    batch = sizes.training[0] * jax.device_count()

    def call() -> dict:
        config = load(name, sizes, **{"model.dtype": "bfloat16"})
        step, make_state = programs.make_training(config)
        state = parallel.replicate(make_state(programs.make_variables(config)))
        inputs = parallel.shard(programs.make_batch(config, batch))
        compiled = step.lower(state, inputs).compile()

        def once() -> None:
            nonlocal state  # the step consumes it
            state, _ = jax.block_until_ready(compiled(state, inputs))

        once()
        return {"operations": costliest.measure(once, compiled.as_text() or "", bandwidth)}

    journal.measure("profile", call, model=name, batch=batch)


def measure_processes(journal: Journal, sizes: Sizes) -> None:
    """Measures two processes of this machine under both backends, at a small size."""
    graphics = jax.local_device_count() if jax.default_backend() == "gpu" else 0
    config, side = sizes.processes
    arguments = ["--config", config, "--size", str(side)]
    arguments += ["--repeats", str(sizes.repeats), "--gpus", str(graphics)]
    arguments += ["--patience", str(sizes.patience)]
    journal.measure(
        "two processes",
        lambda: {"backends": _apart("two_processes", arguments, sizes.patience)},
        gpus=graphics,
    )


def measure_input(journal: Journal, sizes: Sizes, step: dict | None) -> None:
    """Measures what share of its time a training loop waits for data, if its packages are here.

    Args:
      journal: of the run.
      sizes: of the measurements.
      step: the row of a training step; None if there is none.
    """
    needed = {"tensorflow", "tensorflow_datasets", "grain"}
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing or step is None:
        journal.skip("input", f"not installed: {', '.join(missing)}" if missing else "no step")
        return
    threads = len(os.sched_getaffinity(0))
    arguments = ["--batch", str(step["batch"]), "--step", str(step["seconds"])]
    arguments += ["--threads", str(threads), "--size", str(step["size"])]
    if sizes.tiny:
        arguments += ["--stored", "48", "--scenes", "2", "--batches", "3", "--prefetch", "2"]
    journal.measure("input", lambda: _apart("input_pipeline", arguments, sizes.patience)[0])


def measure_torch(journal: Journal, sizes: Sizes) -> None:
    """Measures the same operators in PyTorch, if it is here."""
    if importlib.util.find_spec("torch") is None:
        journal.skip("PyTorch's operators", "not installed: torch")
        return
    from benchmarks import torch_operators

    batch, dtype = (1, "float32") if sizes.tiny else (sizes.training[0], "bfloat16")
    for operator in torch_operators.operators(sizes.tiny):
        journal.measure(
            "PyTorch's operators",
            lambda operator=operator: {
                "passes": torch_operators.measure(operator, batch, dtype, sizes.repeats)
            },
            operator=str(operator),
            batch=batch,
            dtype=dtype,
        )


def _apart(module: str, arguments: Sequence[str], patience: float) -> list[dict]:
    """Returns the rows of a benchmark in a process of its own, which leaves accelerators alone.

    Args:
      module: of the benchmark.
      arguments: its command line.
      patience: seconds that it may take.

    Raises:
      RuntimeError: with its last line if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.json"
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", "--json", str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=patience + 20,  # one that has such a limit itself tells more
            env={**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        )
        if done.returncode:
            raise RuntimeError((done.stderr.splitlines() or [f"exit {done.returncode}"])[-1])
        return json.loads(path.read_text())["rows"]


def run(journal: Journal, sizes: Sizes, models: Sequence[str], recordings: Sequence[str]) -> None:
    """Measures everything, most important first.

    Args:
      journal: of the run.
      sizes: of the measurements.
      models: which ones; the first is measured in all ways.
      recordings: of published networks, which are compared.
    """
    first, *others = models
    peak, bandwidth = measure_peaks(journal, sizes)
    small = [name for name in recordings if name.endswith("small")]
    soon = small[:1] if sizes.tiny else [*small, f"{first}_base"]
    measure_parity(journal, [name for name in soon if name in recordings])
    rough: dict[str, Any] = {"model.dtype": "bfloat16"}
    exact: dict[str, Any] = {"model.dtype": "float32"}
    both = {"training step": sizes.training, "forward pass": sizes.inference}
    rows = measure_speed(journal, sizes, peak, first, both, **rough)
    measure_profile(journal, sizes, bandwidth, first)
    measure_speed(journal, sizes, peak, first, both, **exact)
    some = {"training step": sizes.training[:2]}
    levers: tuple[tuple[str, Any], ...] = (
        ("distributed.backend", parallel.SHARD_MAP),
        ("model.remat", True),
        ("model.scan", True),
    )
    for lever, value in levers:
        section, key = lever.split(".")
        if key in load(first, sizes)[section]:
            changed: dict[str, Any] = {**rough, lever: value}
            measure_speed(journal, sizes, peak, first, some, **changed)
    measure_phrases(journal, sizes, first)
    once = {"training step": sizes.others, "forward pass": sizes.others}
    for name in others:
        measure_speed(journal, sizes, peak, name, once, largest=True, **rough)
        measure_phrases(journal, sizes, name)
    measure_processes(journal, sizes)
    measure_input(journal, sizes, rows.get("training step"))
    measure_torch(journal, sizes)
    if not sizes.tiny:
        measure_parity(journal, [name for name in recordings if name not in soon])


def compile_quickly() -> None:
    """Lets this process and those that it starts compile slow programs in little time.

    The figures of the smallest size mean nothing, so it need not wait for fast ones. To be called
    before JAX looks for devices.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
    # XLA ends a process for a flag that it does not know.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = flags.strip()


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 if something failed in the smallest size, which always fits."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", default="out/accelerator.json", help="file of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of it")
    parser.add_argument("--tiny", action="store_true", help="the smallest size of everything")
    parser.add_argument("--models", nargs="+", help="which ones; the first is measured most")
    parser.add_argument("--list-wheels", action="store_true", help="name what must travel along")
    arguments = parser.parse_args(argv)
    if arguments.list_wheels:
        wheels = travelling_wheels()
        print("\n".join(wheels))
        print(f"{sum(wheels.values()):.1f} MB", file=sys.stderr)
        return 0
    if arguments.tiny:
        compile_quickly()
    journal = Journal(pathlib.Path(arguments.json), arguments.minutes)

    def end() -> None:
        print(f"The time is over; {arguments.json} holds what was measured.", flush=True)
        os._exit(0)

    timer = threading.Timer(60 * arguments.minutes + GRACE, end)
    timer.daemon = True
    timer.start()
    others = [name for name in registry.names() if name != FIRST]
    models = arguments.models or (TINY_MODELS if arguments.tiny else [FIRST, *others])
    recordings = parity.names()
    if arguments.models or arguments.tiny:
        recordings = [name for name in recordings if name.rpartition("_")[0] in models]
    run(journal, TINY if arguments.tiny else Sizes(), models, recordings)
    journal.finish()
    timer.cancel()
    return int(arguments.tiny and bool(journal.failed()))


if __name__ == "__main__":
    sys.exit(main())
