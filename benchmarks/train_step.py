"""How long a training step takes: forward, backward and update, as the training loop runs it.

python -m benchmarks.train_step --batches 2 --json out/train_step.json
"""

import time

import jax

from benchmarks import flops, harness, programs
from rrsis_jax.distributed import parallel


def measure(config, batch: int, repeats: int) -> dict:
    """Returns one row of the table; `batch` is global."""
    step, make_state = programs.make_training(config)
    state = parallel.replicate(make_state(programs.make_variables(config)))
    inputs = parallel.shard(programs.make_batch(config, batch))
    start = time.perf_counter()
    lowered = step.lower(state, inputs)
    traced = time.perf_counter()
    compiled = lowered.compile()
    built = time.perf_counter()

    def call() -> None:
        nonlocal state  # the step consumes it
        state, _ = jax.block_until_ready(compiled(state, inputs))

    taken = harness.spread(harness.seconds(call, repeats))
    counted = programs.counted_flops(compiled) * jax.device_count()
    expected = (
        flops.FORWARD_FLOPS * flops.TRAINING_FACTOR * batch * (config.data.image_size / 480) ** 2
    )
    by_hand = flops.is_counted(config)
    per_device = (expected if by_hand else counted) / jax.device_count()
    return {
        "dtype": config.model.dtype,
        "scan": config.model.get("scan"),
        "remat": config.model.get("remat"),
        "size": config.data.image_size,
        "batch": batch,
        "trace s": traced - start,
        "compile s": built - traced,
        **taken,
        "of all cores": harness.processor_seconds(call),
        "images/s": batch / taken["seconds"],
        "program GB": harness.program_bytes(compiled) / 1e9,
        "GFLOP, traced": programs.counted_flops(lowered) / 1e9,
        "GFLOP, compiled": counted / 1e9,
        "GFLOP, by hand": expected / 1e9 if by_hand else None,
        "utilisation": flops.utilisation(per_device, taken["seconds"], jax.devices()[0]),
    }


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--batches", type=int, nargs="+", default=[2], help="global batch sizes")
    parser.add_argument("--dtype", help="compute type instead of the config's")
    parser.add_argument("--scan", choices=["on", "off"], help="instead of the config's")
    parser.add_argument("--remat", choices=["on", "off"], help="instead of the config's")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config, arguments.size)
    config.model.dtype = arguments.dtype or config.model.dtype
    for key in ("scan", "remat"):
        if getattr(arguments, key):
            config.model[key] = getattr(arguments, key) == "on"
    rows = [measure(config, n, arguments.repeats) for n in arguments.batches]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
