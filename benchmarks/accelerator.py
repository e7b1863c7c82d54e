"""One command on a bare accelerator machine: what matters most first, each result written at once.

  python -m benchmarks.accelerator --json out/accelerator.json --minutes 8
  python -m benchmarks.accelerator --list-wheels

Takes jax, flax, optax, numpy and the few pure packages that `--list-wheels` names; neither
TensorFlow nor TFDS, CLU, Grain or Orbax. The file is whole after every result, so a run that is cut
off leaves all that it had. `--tiny` runs every part in the smallest size, to try it on a CPU.
"""

import argparse
import dataclasses
import datetime
import gc
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from benchmarks import costliest, harness, inference, parity, programs, train_step
from rrsis_jax import errors, io
from rrsis_jax.configs import default
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry

GRACE = 30  # seconds that a measurement may last beyond the time
TRAVELLING = ("ml-collections", "transformers")  # what a bare machine lacks, with their needs
BARE = ("jax", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the measurements are."""

    side: int = 480
    training: tuple[int, ...] = (8, 16, 32, 64, 128)
    inference: tuple[int, ...] = (1, 8, 32, 128)
    others: int = 32  # batch of the networks besides LGCE
    matrix: int = 8192
    megabytes: int = 1024
    repeats: int = 5
    tiny: bool = False


TINY = Sizes(32, (2,), (1, 2), 2, 256, 16, 2, True)


class Journal:
    """The results of a run on disk, whole after every one of them."""

    def __init__(self, path: pathlib.Path, minutes: float):
        """Begins the file."""
        self._path, self._start, self._end = path, time.monotonic(), 60 * minutes
        self._late = False
        device = jax.devices()[0]
        self.result: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": harness.machine(),
            "device": device.device_kind,
            "devices": jax.device_count(),
            "minutes": minutes,
            "finished": False,
            "results": [],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def measure(self, part: str, call: Callable[[], dict], **case: Any) -> dict | None:
        """Adds what `call` returns to the file, or why there is nothing.

        Args:
          part: of the run.
          call: returns a row.
          **case: what is measured.

        Returns:
          The row; None if it failed or the time was over before it began.
        """
        began = time.monotonic() - self._start
        row, failed = None, None
        if began > self._end:
            failed, self._late = "not begun: the time was over", True
        else:
            try:
                row = call()
            except Exception as error:  # the next measurement may go well all the same
                failed = f"{type(error).__name__}: {errors.first_line(error)}"
            gc.collect()
        outcome = {"failed": failed} if row is None else row
        entry = {"part": part, **case, "at s": round(began, 1), **outcome}
        self.result["results"].append(entry)
        self._write()
        print(json.dumps(entry), flush=True)
        return row

    def finish(self) -> None:
        """Marks the file as that of a run that began everything it had to."""
        self.result["finished"] = not self._late
        self._write()

    def _write(self) -> None:
        io.write_text(self._path, json.dumps(self.result, indent=1) + "\n")


def load(name: str, sizes: Sizes, **values: Any) -> ml_collections.ConfigDict:
    """Returns the recipe of a model's paper, or its smallest size, with some values changed."""
    if sizes.tiny:
        config, small = default.get_config(name).unlock(), registry.small(name)
        config.model, config.loss, config.optim.groups = small.model, small.loss, small.groups
        config.data.image_size = sizes.side
    else:
        config = harness.load_config(registry.recipe(name))
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


def measure_parity(journal: Journal, sizes: Sizes) -> None:
    """Compares the recordings; the first of them alone in tiny size."""
    for name in parity.names()[: 1 if sizes.tiny else None]:
        for dtype, call in parity.measure(name):
            journal.measure("parity", call, recording=name, dtype=dtype)


def measure_speed(
    journal: Journal, sizes: Sizes, peak: float | None, name: str, batches: dict, **values: Any
) -> None:
    """Measures training step and forward pass at growing batches, until one does not fit."""
    for what, module in (("training step", train_step), ("forward pass", inference)):
        for batch in batches.get(what, ()):

            def call(module: Any = module, batch: int = batch) -> dict:
                config = load(name, sizes, **values)
                row = module.measure(config, sizes.side, batch, sizes.repeats)
                work = 1e9 * (row["GFLOP, by hand"] or row["GFLOP, traced"])
                share = work / jax.device_count() / row["seconds"] / peak if peak else None
                return {**row, "share of the measured peak": share}

            case = {"model": name, "batch": batch, **values}
            if journal.measure(what, call, **case) is None:
                break


def measure_phrases(journal: Journal, sizes: Sizes, name: str, phrases: int = 10) -> None:
    """Measures one image with several phrases, encoded once."""

    def call() -> dict:
        config = load(name, sizes, **{"model.dtype": "bfloat16"})
        return inference.measure(config, sizes.side, 1, sizes.repeats, phrases)

    journal.measure("phrases", call, model=name, phrases=phrases)


def measure_profile(journal: Journal, sizes: Sizes, bandwidth: float) -> None:
    """Names the costliest operations of a training step of LGCE."""

    def call() -> dict:
        config = load("lgce", sizes, **{"model.dtype": "bfloat16"})
        step, make_state = programs.make_training(config)
        state = parallel.replicate(make_state(programs.make_variables(config)))
        batch = parallel.shard(
            programs.make_batch(config, sizes.side, sizes.training[0] * jax.device_count())
        )
        compiled = step.lower(state, batch).compile()
        state, _ = jax.block_until_ready(compiled(state, batch))
        rows = costliest.measure(
            lambda: jax.block_until_ready(compiled(state, batch)),
            compiled.as_text() or "",
            bandwidth,
        )
        return {"operations": rows}

    journal.measure("profile", call, model="lgce", batch=sizes.training[0])


def measure_torch(journal: Journal, sizes: Sizes) -> None:
    """Measures the same operators in PyTorch, if it is there."""

    def call() -> dict:
        from benchmarks import torch_operators

        batch = 1 if sizes.tiny else sizes.training[0]
        arguments = ["--batch", str(batch), "--repeats", str(sizes.repeats)]
        return {"operators": torch_operators.main(arguments)["rows"]}

    journal.measure("PyTorch's operators", call)


def run(journal: Journal, sizes: Sizes) -> None:
    """Measures everything, most important first."""
    peak, bandwidth = measure_peaks(journal, sizes)
    measure_parity(journal, sizes)
    both = {"training step": sizes.training, "forward pass": sizes.inference}
    first = {"training step": sizes.training[:2]}
    measure_speed(journal, sizes, peak, "lgce", both, **{"model.dtype": "bfloat16"})
    measure_speed(journal, sizes, peak, "lgce", both, **{"model.dtype": "float32"})
    for lever in ("model.remat", "model.scan", "distributed.backend"):
        value = parallel.SHARD_MAP if lever == "distributed.backend" else True
        values = {"model.dtype": "bfloat16", lever: value}
        measure_speed(journal, sizes, peak, "lgce", first, **values)
    once = {"training step": (sizes.others,), "forward pass": (sizes.others,)}
    for name in registry.names():
        if name != "lgce":
            measure_speed(journal, sizes, peak, name, once, **{"model.dtype": "bfloat16"})
        measure_phrases(journal, sizes, name)
    measure_profile(journal, sizes, bandwidth)
    measure_torch(journal, sizes)


def travelling_wheels() -> list[str]:
    """Returns `name==version` of what must travel to a bare machine, as installed here."""
    there = _closure(BARE)
    return sorted(
        f"{name}=={importlib.metadata.version(name)}" for name in _closure(TRAVELLING) - there
    )


def _closure(names: tuple[str, ...]) -> set[str]:
    """Returns distributions with all that they require, extras left out."""
    closure, pending = set(), list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on another system only
        if name not in closure:
            closure.add(name)
            pending += [re.split(r"[^\w.\-]", n)[0] for n in needs if "extra ==" not in n]
    return closure


def main(argv: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", default="out/accelerator.json", help="file of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of it")
    parser.add_argument("--tiny", action="store_true", help="the smallest size of everything")
    parser.add_argument("--list-wheels", action="store_true", help="name what must travel along")
    arguments = parser.parse_args(argv)
    if arguments.list_wheels:
        print("\n".join(travelling_wheels()))
        return
    journal = Journal(pathlib.Path(arguments.json), arguments.minutes)

    def end() -> None:
        print(f"The time is over; {arguments.json} holds what was measured.", flush=True)
        os._exit(0)

    timer = threading.Timer(60 * arguments.minutes + GRACE, end)
    timer.daemon = True
    timer.start()
    run(journal, TINY if arguments.tiny else Sizes())
    journal.finish()
    timer.cancel()


if __name__ == "__main__":
    sys.exit(main())
