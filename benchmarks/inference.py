"""How long a forward pass takes: images and phrases to log-odds, compiled, on one device.

python -m benchmarks.inference --batches 1 8 --json out/inference.json
python -m benchmarks.inference --phrases 1 10 --config=rsrefseg2_refsegrs
"""

import time

import jax

from benchmarks import flops, harness, programs


def measure(config, batch: int, repeats: int, phrases: int = 1) -> dict:
    """Returns one row of the table; each image is segmented for so many phrases."""
    variables = jax.device_put(programs.make_variables(config))
    inputs = jax.device_put(programs.make_batch(config, batch))
    start = time.perf_counter()
    lowered = programs.make_forward(config, phrases).lower(variables, inputs)
    compiled = lowered.compile()
    built = time.perf_counter() - start

    def call() -> None:
        jax.block_until_ready(compiled(variables, inputs))

    taken = harness.spread(harness.seconds(call, repeats))
    counted = programs.counted_flops(compiled)
    expected = flops.FORWARD_FLOPS * batch * (config.data.image_size / 480) ** 2
    by_hand = flops.is_counted(config) and phrases == 1
    operations = expected if by_hand else counted
    return {
        "dtype": config.model.dtype,
        "size": config.data.image_size,
        "batch": batch,
        "phrases": phrases,
        "trace and compile s": built,
        **taken,
        "of all cores": harness.processor_seconds(call),
        "images/s": batch / taken["seconds"],
        "program GB": harness.program_bytes(compiled) / 1e9,
        "GFLOP, traced": programs.counted_flops(lowered) / 1e9,
        "GFLOP, compiled": counted / 1e9,
        "GFLOP, by hand": expected / 1e9 if by_hand else None,
        "GFLOP/s": operations / taken["seconds"] / 1e9,
        "utilisation": flops.utilisation(operations, taken["seconds"], jax.devices()[0]),
    }


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], help="batch sizes")
    parser.add_argument(
        "--phrases", type=int, nargs="+", default=[1], help="phrases that each image is asked for"
    )
    parser.add_argument("--dtype", help="compute type instead of the config's")
    arguments = parser.parse_args(argv)
    config = harness.load_config(arguments.config, arguments.size)
    config.model.dtype = arguments.dtype or config.model.dtype
    rows = [
        measure(config, batch, arguments.repeats, phrases)
        for batch in arguments.batches
        for phrases in arguments.phrases
    ]
    return harness.report(rows, arguments, device=jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
