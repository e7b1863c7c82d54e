"""What operations a training step consists of where it is lowered for a device that is not here.

  python -m benchmarks.lowering --batch 8 --platform cuda --json out/lowering.json

Nothing is compiled: the counts are of the StableHLO that a compiler is handed. It fuses most of the
elementwise ones; what it cannot do without are products, convolutions, gathers, scatters and the
transposes between products, so these are named first. The body of a loop is counted once.
"""

import collections
import math
import re

import jax

from benchmarks import harness, programs
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry

NAMED = ("transpose", "gather", "scatter", "convert", "dot_general", "convolution", "reduce")
NAMED += ("concatenate", "pad", "slice", "case", "while", "custom_call")
_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "i64": 8, "i32": 4, "ui32": 4, "i8": 1}
_BYTES |= {"ui8": 1, "i1": 1, "ui64": 8, "i16": 2, "ui16": 2}


def lower(config, batch: int, platform: str) -> str:
    """Returns the text of a training step's module for a platform.

    Args:
      config: of the run.
      batch: samples on each device.
      platform: as JAX names it, such as "cuda".
    """
    config.distributed.backend = parallel.SHARD_MAP  # a program of pmap names its devices
    step, make_state = programs.make_training(config)
    state = jax.eval_shape(make_state, registry.build(config).shapes())
    inputs = programs.make_batch(config, batch)
    devices = jax.device_count()  # of this process; each runs the same operations
    shapes = (programs.replicated_shapes(tree, devices) for tree in (state, inputs))
    traced = step.trace(*shapes)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def count(module: str) -> tuple[collections.Counter[str], collections.Counter[str]]:
    """Counts the operations of a StableHLO module's main function and all that it calls.

    Args:
      module: its text.

    Returns:
      By an operation's name, how often it is there, and the bytes of the results that the text
      names beside it.
    """
    bodies: dict[str, list[str]] = {}
    for line in module.splitlines():
        begun = re.search(r"func\.func .*@([\w.\-]+)\(", line)
        if begun:
            bodies[begun[1]] = []
        elif bodies:
            bodies[next(reversed(bodies))].append(line)
    times: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    pending = ["main"]
    while pending:
        for line in bodies[pending.pop()]:
            called = re.search(r"\bcall @([\w.\-]+)\(", line)
            if called:
                pending.append(called[1])
            for name in re.findall(r"= \"?stablehlo\.(\w+)", line):
                times[name] += 1
                sizes[name] += _size(line.rpartition("tensor<")[2])
    return times, sizes


def _size(kind: str) -> int:
    """Returns the bytes of a tensor's type, such as "8x4xf32>"."""
    *sides, letters = kind.partition(">")[0].split("x")
    return _BYTES.get(letters, 0) * math.prod(int(side) for side in sides if side.isdigit())


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--batch", type=int, default=8, help="samples on the device")
    parser.add_argument("--dtype", default="bfloat16", help="compute type")
    parser.add_argument("--platform", default="cuda", help="as JAX names it: cuda, rocm, tpu, cpu")
    parser.add_argument("--text", help="file that the module's text is written to")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config, arguments.size)
    config.model.dtype = arguments.dtype
    module = lower(config, arguments.batch, arguments.platform)
    if arguments.text:
        with open(arguments.text, "w", encoding="utf-8") as file:
            file.write(module)
    times, sizes = count(module)
    rows = [
        {"operation": name, "times": times[name], "GB of results": sizes[name] / 1e9}
        for name in (*NAMED, *sorted(set(times) - set(NAMED)))
        if times[name]
    ]
    return harness.report(rows, arguments, operations=sum(times.values()))


if __name__ == "__main__":
    main()
