"""The hosts of a run: processes that each drive some of the devices and wait for each other.

All hosts run the same program. The lead host, process 0, alone writes what the run keeps.
"""

import atexit
import contextlib
import itertools
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections

from rrsis_jax import errors

AUTO = "auto"
_GUIDE = "docs/scale_out.md shows the commands."

# Under these launchers JAX finds out address, number of processes and own number by itself.
_LAUNCHERS = {"Slurm": "SLURM_STEP_NUM_TASKS", "Open MPI": "OMPI_COMM_WORLD_SIZE"}

_DONE = "done"
_GRACE = 5000  # milliseconds
_boards = itertools.count()  # hosts make them in the same order, so the number names one


def join(config_distributed: ml_collections.ConfigDict) -> None:
    """Connects this process with the other hosts of its run, if there are any.

    The configuration goes before `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`; what neither says, JAX finds out under Slurm and Open MPI, and with the
    address `auto` on TPU slices and Kubernetes too. Call it before anything asks for devices.

    Args:
      config_distributed: the section `distributed` of the configuration.

    Raises:
      ValueError: if the hosts do not find each other or differ in their number of devices or in
        `distributed.backend`; or see `divide_cpu`.
    """
    section = config_distributed
    divide_cpu(section.cpu_devices)
    address = section.coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS", "")
    count = section.num_processes or _number("JAX_NUM_PROCESSES", 0)
    process = section.process_id if section.process_id >= 0 else _number("JAX_PROCESS_ID", -1)
    launchers = [name for name, key in _LAUNCHERS.items() if _number(key, 1) > 1]
    if count != 1 and (address or count or launchers) and not jax.distributed.is_initialized():
        asked = (
            f"Asked for: address {address or 'none'}, {count or 'unknown'} processes, this one's "
            f"number {process if process >= 0 else 'unknown'}. {_GUIDE}"
        )
        try:
            with _time_limit(section.timeout, asked):
                jax.distributed.initialize(
                    coordinator_address=None if address == AUTO else address or None,
                    num_processes=count or None,
                    process_id=None if process < 0 else process,
                    initialization_timeout=section.timeout + 60,
                )
        except Exception as error:  # of JAX, its launchers' modules and the network
            raise ValueError(
                f"The hosts did not find each other: {errors.first_line(error)}. {asked}"
            ) from error
    _check_devices()
    # Programs of two backends would wait for each other's sums in vain.
    check_same("distributed.backend", section.backend, section.timeout)


def divide_cpu(devices: int) -> None:
    """Makes this process's CPU so many devices, which share each batch; 0 leaves it one.

    A small network keeps two cores busier as two devices than as one that cuts every operation.
    Call it before anything asks for devices. Where JAX computes on an accelerator nothing changes.

    Raises:
      ValueError: if the process computes on another number of CPU devices already.
    """
    if not devices:
        return
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError as error:  # too late
        if jax.default_backend() == "cpu" and jax.local_device_count() != devices:
            raise ValueError(
                f"distributed.cpu_devices is {devices}, but this process computes on "
                f"{jax.local_device_count()} CPU device(s) already. Start a new process, or set "
                "it to 0."
            ) from error


@contextlib.contextmanager
def joined(config_distributed: ml_collections.ConfigDict) -> Iterator[None]:
    """Joins the other hosts for the body; if that fails on this host, none waits for it for long.

    Args:
      config_distributed: the section `distributed` of the configuration, see `join`.

    Raises:
      ValueError: see `join`.
    """
    join(config_distributed)
    try:
        yield
    except SystemExit:
        raise
    except BaseException:
        if jax.process_count() > 1:
            atexit.register(_leave)  # runs after the message was printed, and before JAX's own
        raise


def is_lead() -> bool:
    """Returns whether this process writes what the run keeps."""
    return jax.process_index() == 0


def devices_in_words() -> str:
    """Returns what all hosts compute on, such as "8 × TPU v4 on 2 hosts"."""
    kinds = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    hosts = f" on {jax.process_count()} hosts" if jax.process_count() > 1 else ""
    return f"{jax.device_count()} × {kinds}{hosts}"


@contextlib.contextmanager
def lead_first(task: str, seconds: float) -> Iterator[None]:
    """Runs the body on the lead host, then on all others; fails on all hosts if it fails on one.

    Args:
      task: what the body does, for messages, like "prepare the data".
      seconds: how long to wait for another host.

    Raises:
      ValueError: if another host failed or did not answer.
    """
    if jax.process_count() == 1:
        yield
        return
    board = _Board(task, seconds)
    if not is_lead():
        board.check(0)
    try:
        yield
    except BaseException as error:
        board.write(str(error) or type(error).__name__)
        raise
    board.write(_DONE)
    for number in range(jax.process_count()):
        board.check(number)


def check_same(what: str, value: object, seconds: float) -> None:
    """Refuses a value in which the hosts differ.

    Args:
      what: the value's name, for the message.
      value: this host's.
      seconds: how long to wait for another host.

    Raises:
      ValueError: with all hosts' values, or if a host did not answer.
    """
    if jax.process_count() == 1:
        return
    board = _Board(f"tell {what}", seconds)
    board.write(repr(value))
    values = [board.read(number) for number in range(jax.process_count())]
    if len(set(values)) > 1:
        listing = ", ".join(f"host {number}: {x}" for number, x in enumerate(values))
        raise ValueError(
            f"The hosts differ in {what} ({listing}). Check that they share --workdir and run the "
            "same code, then give the same command again."
        )


def check_shared(path: pathlib.Path) -> None:
    """Refuses a host that does not see what the lead host wrote.

    Raises:
      ValueError: naming the host and the path.
    """
    if not (is_lead() or path.exists()):
        raise ValueError(
            f"Host {jax.process_index()} does not see {path}, which the lead host wrote. "
            "Give all hosts a --workdir on a file system that they share."
        )


class _Board:
    """Notes that each host leaves for all others, by way of JAX's coordinator."""

    def __init__(self, task: str, seconds: float):
        self._task, self._key = task, f"rrsis_jax/{next(_boards)}"
        self._milliseconds = max(1, round(1000 * seconds))
        self._client = _coordinator()

    def write(self, text: str) -> None:
        """Leaves this host's note."""
        self._client.key_value_set(f"{self._key}/{jax.process_index()}", text)

    def read(self, number: int) -> str:
        """Waits for a host's note."""
        key = f"{self._key}/{number}"
        try:
            return self._client.blocking_key_value_get(key, self._milliseconds)
        except jax.errors.JaxRuntimeError as error:
            raise ValueError(
                f"Host {number} did not {self._task} in {self._milliseconds / 1000:g} s. Look "
                "into its log; if it only needs longer, raise --config.distributed.timeout."
            ) from error

    def check(self, number: int) -> None:
        """Waits until a host is done; raises if it failed."""
        note = self.read(number)
        if note != _DONE:
            raise ValueError(f"Host {number} could not {self._task}: {note}")


@contextlib.contextmanager
def _time_limit(seconds: float, asked: str) -> Iterator[None]:
    """Ends the process with a message if the body takes longer; JAX would abort with a dump."""

    def end() -> None:
        print(
            f"Error: Not all hosts were there within {seconds:g} s. {asked}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _leave() -> None:
    """Ends a process that failed, waiting for the others shortly, in case they fail as well.

    JAX's own end would wait five minutes for hosts that hang in a collective operation. When the
    process is gone, JAX ends them.
    """
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _coordinator().wait_at_barrier("rrsis_jax/failed", _GRACE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _coordinator() -> Any:
    """Returns this process's client of JAX's coordinator.

    JAX has no public name for it, nor for a note or a barrier that times out.

    Raises:
      ImportError: if this release of JAX has it elsewhere.
    """
    try:
        from jax._src import distributed

        return distributed.global_state.client
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"JAX {jax.__version__} has no jax._src.distributed.global_state.client, by which "
            "hosts tell each other that they are done. Train on one host, or install a JAX that "
            "has it: 0.10.2 does."
        ) from error


def _number(variable: str, default: int) -> int:
    """Returns a whole number from the environment."""
    text = os.environ.get(variable, "")
    try:
        return int(text) if text else default
    except ValueError as error:
        raise ValueError(f"{variable} is {text!r}; expected a whole number.") from error


def _check_devices() -> None:
    """Refuses hosts that do not know of each other, or have unequal shares of the devices."""
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise ValueError(
            f"This is one of {jax.process_count()} hosts of a TPU slice. Give all of them "
            f"--config.distributed.coordinator_address={AUTO}. {_GUIDE}"
        )
    if jax.local_device_count() * jax.process_count() != jax.device_count():
        raise ValueError(
            f"This host has {jax.local_device_count()} of {jax.device_count()} devices, but "
            f"{jax.process_count()} hosts must have equally many. Hide the surplus, as with "
            "CUDA_VISIBLE_DEVICES."
        )
