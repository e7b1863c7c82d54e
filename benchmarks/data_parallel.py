"""What spreading a step over devices costs, and what the devices send to each other.

  python -m benchmarks.data_parallel --config configs/quickstart.py --size 128

Every row runs in a process of its own with so many CPU devices, which share the machine's cores.
So the step of n devices with one share each is compared with n times the step of one device with
one share: what is above 1 is the cost of running it as one program.
"""

import json
import math
import re

from benchmarks import harness

_BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1}


def all_reduced_bytes(hlo: str | None) -> int:
    """Returns the bytes that all-reduces of a compiled program's text carry from each device."""
    if hlo is None:
        raise ValueError("This backend does not show the text of its programs.")
    total = 0
    for line in hlo.splitlines():
        result = re.match(r"\s*(?:ROOT )?\S+ = (.*?) all-reduce(?:-start)?\(", line)
        for kind, sizes in re.findall(r"(\w+)\[([\d,]*)\]", result[1] if result else ""):
            total += _BYTES[kind] * math.prod(int(size) for size in sizes.split(",") if size)
    return total


def measure_inside(config_path: str, size: int | None, share: int, repeats: int) -> dict:
    """Measures the step on all devices of this process."""
    import jax

    from benchmarks import programs
    from rrsis_jax.distributed import parallel
    from rrsis_jax.models import registry
    from rrsis_jax.training import optim

    config = harness.load_config(config_path, size)
    devices = jax.local_device_count()
    step, make_state = programs.make_training(config)
    variables = programs.make_variables(config)
    trained, _ = optim.split_frozen(variables["params"], registry.build(config))
    state = parallel.replicate(make_state(variables))
    inputs = parallel.shard(programs.make_batch(config, share * devices))
    compiled = step.lower(state, inputs).compile()

    def call() -> None:
        nonlocal state  # the step consumes it
        state, _ = jax.block_until_ready(compiled(state, inputs))

    return {
        "devices": devices,
        **harness.spread(harness.seconds(call, repeats)),
        "all-reduced MB": all_reduced_bytes(compiled.as_text()) / 1e6,
        "gradient MB": sum(leaf.nbytes for leaf in jax.tree.leaves(trained)) / 1e6,
    }


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--share", type=int, default=1, help="samples per device")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--inside", action="store_true", help="measure this process's devices")
    arguments = parser.parse_args(argv)
    if arguments.inside:
        row = measure_inside(arguments.config, arguments.size, arguments.share, arguments.repeats)
        print(json.dumps(row))
        return row
    rows = []
    for devices in arguments.devices:
        same = [
            f"--{name}={getattr(arguments, name)}"
            for name in ("config", "size", "share", "repeats")
        ]
        rows.append(harness.run_inside("data_parallel", "--inside", *same, devices=devices))
    alone = rows[0]["seconds"] / rows[0]["devices"]
    for row in rows:
        row["over the sum"] = row["seconds"] / (alone * row["devices"])
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()
