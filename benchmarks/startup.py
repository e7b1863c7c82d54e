"""How long a start takes to the end of its first training step, part by part.

  python -m benchmarks.startup --json out/startup.json

Two fresh processes run one after the other on one compilation cache: the first compiles and fills
it, the second reads it, both in a thread beside the building of the state, as a training does. All
figures are seconds of the wall clock but for "of all cores": processor seconds to the end of the
first step, which other programs on the machine disturb less. "beyond the step" is the time to the
end of the first step without that of the second, which is a step alone.
"""

import itertools
import json
import tempfile
import time

from benchmarks import harness

PARTS = ("import", "build", "program, after that", "first step", "second step")


def run_parts(config_path: str, size: int | None, batch: int, cache: str) -> dict:
    """Runs all parts in this process and returns the seconds of each."""
    marks = [(time.perf_counter(), time.process_time())]

    def mark() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    import jax

    from benchmarks import programs
    from rrsis_jax.distributed import parallel
    from rrsis_jax.models import registry
    from rrsis_jax.training import ahead

    jax.config.update("jax_compilation_cache_dir", cache)
    mark()
    config = harness.load_config(config_path, size)
    function, make_state = programs.make_training(config)
    model = registry.build(config)
    step = ahead.CompiledAhead(
        function, *ahead.shapes(jax.eval_shape(make_state, model.shapes()), model, batch)
    )
    state = parallel.replicate(make_state(programs.make_variables(config)))
    inputs = next(parallel.device_batches(iter([programs.make_batch(config, batch)])))
    mark()
    step.wait()
    mark()
    for _ in range(2):
        state, _ = jax.block_until_ready(step(state, inputs))
        mark()
    maps = _memory_maps()
    walls, processors = zip(*marks, strict=True)
    times = [after - before for before, after in itertools.pairwise(walls)]
    return {
        **dict(zip(PARTS, times, strict=True)),
        "to the first step": sum(times[:-1]),
        "beyond the step": sum(times[:-1]) - times[-1],
        "of all cores": processors[-2] - processors[0],
        "memory maps": maps,
    }


def _memory_maps() -> int | None:
    """Returns how many mappings this process has; Linux allows 65,530 by default."""
    try:
        with open("/proc/self/maps") as lines:
            return sum(1 for _ in lines)
    except FileNotFoundError:
        return None


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--size", type=int, help="side of the images instead of the config's")
    parser.add_argument("--batch", type=int, default=2, help="global batch size")
    parser.add_argument("--inside", metavar="CACHE", help="measure this process, with this cache")
    arguments = parser.parse_args(argv)
    if arguments.inside:
        parts = run_parts(arguments.config, arguments.size, arguments.batch, arguments.inside)
        print(json.dumps(parts))
        return parts
    with tempfile.TemporaryDirectory() as cache:
        named = {name: getattr(arguments, name) for name in ("config", "size", "batch")}
        same = [f"--{name}={value}" for name, value in named.items() if value is not None]
        rows = [
            {"start": start, **harness.run_inside("startup", f"--inside={cache}", *same)}
            for start in ("first", "second")
        ]
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()
