"""Real training processes: main.py on one or several hosts, each with some CPU devices."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def start(
    workdir: pathlib.Path,
    *arguments: str,
    hosts: int = 1,
    devices: int = 4,
    program: tuple[str, ...] = ("main.py",),
    config: str = "tests/tiny_config.py",
) -> list[subprocess.Popen]:
    """Starts the hosts of a run; each writes to `workdir/../<workdir>_<host>.log`.

    Args:
      workdir: the run's folder.
      *arguments: further ones of main.py.
      hosts: number of processes.
      devices: CPU devices of each.
      program: what Python runs.
      config: the run's configuration file.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        # The last of equal flags counts; the others compile as the tests themselves do.
        "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
    }
    address, processes = f"localhost:{free_port()}", []
    for number in range(hosts):
        where = [
            f"--config.distributed.coordinator_address={address}",
            f"--config.distributed.num_processes={hosts}",
            f"--config.distributed.process_id={number}",
        ]
        command = [sys.executable, *program, f"--config={config}"]
        command += [f"--workdir={workdir}", *arguments]
        command += where if hosts > 1 else []
        workdir.parent.mkdir(parents=True, exist_ok=True)
        with open(log_file(workdir, number), "a") as log:
            processes.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            )
    return processes


def log_file(workdir: pathlib.Path, host: int = 0) -> pathlib.Path:
    """Returns where a host's output goes."""
    return workdir.with_name(f"{workdir.name}_{host}.log")


def finish(processes: list[subprocess.Popen], seconds: float) -> list[int]:
    """Returns the exit codes; what still runs after `seconds` is killed and reported."""
    try:
        return [process.wait(timeout=seconds) for process in processes]
    finally:
        kill(processes)


def kill(processes: list[subprocess.Popen]) -> None:
    """Ends what still runs with SIGKILL."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port() -> int:
    """Returns a port that nothing listens on now."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
