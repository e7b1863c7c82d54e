"""A training step over two processes of this machine, under pmap and under shard_map.

  python -m benchmarks.two_processes --size 128 --json out/two_processes.json

The processes find each other as the hosts of a run do. On CPUs, one each, their sums travel by
Gloo; with `--gpus 4` each process takes two of the machine's four GPUs. Both backends start from
the same weights, so their losses should be the same.
"""

import argparse
import json
import os
import socket
import subprocess
import sys

from benchmarks import harness

PROCESSES = 2


def measure_inside(arguments: argparse.Namespace) -> list[dict]:
    """Measures the step of both backends in this process and its twin; returns a row for each."""
    import jax

    from benchmarks import programs
    from rrsis_jax.distributed import hosts, parallel

    config = harness.load_config(arguments.config, arguments.size)
    config.distributed.update(
        coordinator_address=arguments.address,
        num_processes=PROCESSES,
        process_id=arguments.process,
        timeout=60,
    )
    hosts.join(config.distributed)
    variables = programs.make_variables(config)
    share = programs.make_batch(config, arguments.share * jax.local_device_count())
    inputs, rows = parallel.shard(share), []
    for backend in (parallel.PMAP, parallel.SHARD_MAP):
        config.distributed.backend = backend
        step, make_state = programs.make_training(config)
        state, scalars = parallel.replicate(make_state(variables)), {}

        def call(step=step) -> None:
            nonlocal state, scalars  # the step consumes the state
            state, scalars = jax.block_until_ready(step(state, inputs))

        taken = harness.spread(harness.seconds(call, arguments.repeats))
        loss = float(parallel.unreplicate(scalars)["loss"])
        batch = PROCESSES * len(share["index"])
        row = {"backend": backend, "devices": jax.device_count(), "batch": batch}
        rows.append({**row, **taken, "loss of the last step": loss})
    return rows


def start(arguments: argparse.Namespace, address: str, process: int) -> subprocess.Popen:
    """Starts one of the processes; it prints its rows as one line of JSON."""
    options = {"address": address, "process": process}
    options |= {name: getattr(arguments, name) for name in ("config", "size", "share", "repeats")}
    command = [sys.executable, "-m", "benchmarks.two_processes"]
    command += [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(arguments.gpus, process),
    )


def environment(gpus: int, process: int) -> dict[str, str]:
    """Returns the environment of a process: its share of the GPUs, or one CPU device."""
    share = gpus // PROCESSES
    if not share:
        return harness.environment_of_devices(1)
    own = ",".join(str(process * share + number) for number in range(share))
    # The process that asked for this benchmark may hold most of their memory.
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_PLATFORMS": "cuda"}
    return {**os.environ, **memory, "CUDA_VISIBLE_DEVICES": own}


def main(argv: list[str] | None = None) -> dict | None:
    """Runs the benchmark and returns what it writes; nothing within one of its processes."""
    parser = harness.parser(__doc__)
    parser.set_defaults(config="quickstart")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--share", type=int, default=1, help="samples per device")
    parser.add_argument("--gpus", type=int, default=0, help="of this machine; 0 computes on CPUs")
    parser.add_argument("--patience", type=float, default=100, help="seconds that it may take")
    parser.add_argument("--address", help="where the processes meet; set by the benchmark itself")
    parser.add_argument("--process", type=int, default=0, help="number of this one; likewise")
    arguments = parser.parse_args(argv)
    if arguments.address:
        print(json.dumps(measure_inside(arguments)))
        return None
    with socket.socket() as found:
        found.bind(("localhost", 0))
        address = f"localhost:{found.getsockname()[1]}"
    running = [start(arguments, address, number) for number in range(PROCESSES)]
    try:
        said = [process.communicate(timeout=arguments.patience) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, said, strict=True):
        if process.returncode:
            raise RuntimeError((errors.splitlines() or ["A process ended."])[-1])
    rows = json.loads(said[0][0].splitlines()[-1])
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()
