"""Several hosts: how they find each other, wait, fail, stop and go on, in two real processes."""

import json
import re
import signal
import subprocess
import sys
import time

import jax
import ml_collections
import pytest
from jax._src import distributed  # as hosts._coordinator does

from rrsis_jax.configs import default
from rrsis_jax.distributed import hosts
from rrsis_jax.training import train
from tests import processes, small_config


def section(**values) -> ml_collections.ConfigDict:
    found = default.get_config().distributed
    found.update(values)
    return found


@pytest.fixture
def initialized(monkeypatch):
    """The arguments of each call of jax.distributed.initialize, which does nothing else."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: calls.append(given))
    return calls


def test_a_process_alone_connects_to_nobody(initialized):
    hosts.join(section())
    assert initialized == []


def test_the_configuration_goes_before_the_environment(initialized, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "there:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "4")
    monkeypatch.setenv("JAX_PROCESS_ID", "3")
    hosts.join(section())
    hosts.join(section(coordinator_address="here:2", num_processes=2, process_id=0, timeout=7))
    assert initialized == [
        {
            "coordinator_address": address,
            "num_processes": count,
            "process_id": number,
            "initialization_timeout": timeout,
        }
        for address, count, number, timeout in (("there:1", 4, 3, 1860), ("here:2", 2, 0, 67))
    ]


@pytest.mark.parametrize("variable", ["SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"])
def test_under_a_launcher_jax_finds_out_the_rest(initialized, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    hosts.join(section())
    assert initialized == []
    monkeypatch.setenv(variable, "2")
    hosts.join(section(num_processes=1))
    assert initialized == []
    hosts.join(section())
    hosts.join(section(coordinator_address="auto"))
    assert [call["coordinator_address"] for call in initialized] == [None, None]
    assert [call["num_processes"] for call in initialized] == [None, None]


def test_hosts_that_do_not_find_each_other_are_told_what_was_asked_for():
    with pytest.raises(ValueError, match="did not find each other") as error:
        hosts.join(section(num_processes=2, process_id=0))  # no address, and no launcher
    assert "address none, 2 processes, this one's number 0" in str(error.value)
    assert "docs/scale_out.md" in str(error.value)


def test_a_host_that_waits_in_vain_says_what_for():
    address = f"localhost:{processes.free_port()}"
    values = {"coordinator_address": address, "num_processes": 2, "process_id": 1, "timeout": 1}
    program = (
        "from rrsis_jax.distributed import hosts\nfrom rrsis_jax.configs import default\n"
        "section = default.get_config().distributed\n"
        f"section.update({values})\nhosts.join(section)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=processes.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Error: Not all hosts were there within 1 s" in done.stderr
    assert f"address {address}, 2 processes, this one's number 1" in done.stderr


def test_a_cpu_is_divided_before_it_computes():
    program = (
        "import jax\nfrom rrsis_jax.distributed import hosts\n"
        "hosts.divide_cpu(3)\nassert jax.local_device_count() == 3\nhosts.divide_cpu(3)\n"
        "hosts.divide_cpu(0)\nassert jax.local_device_count() == 3\nhosts.divide_cpu(2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=processes.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "distributed.cpu_devices is 2, but this process computes on 3 CPU" in done.stderr


def test_a_number_in_the_environment_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES is 'two'; expected a whole number"):
        hosts.join(section())


def test_a_tpu_slice_must_be_joined(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ValueError, match=r"one of 4 hosts.*coordinator_address=auto"):
        hosts.join(section())


class Notes:
    """Stands in for JAX's coordinator: notes that are there already, or never come."""

    def __init__(self):
        self.written = {}

    def key_value_set(self, key, value):
        self.written[key.partition("/")[2].partition("/")[2]] = value

    def blocking_key_value_get(self, key, milliseconds):
        number = key.partition("/")[2].partition("/")[2]
        if number not in self.written:
            raise jax.errors.JaxRuntimeError(f"DEADLINE_EXCEEDED after {milliseconds} ms")
        return self.written[number]


@pytest.fixture
def as_host(monkeypatch):
    """Makes this process one of two hosts; returns the notes of both."""
    notes = Notes()

    def pretend(number):
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: number)
        monkeypatch.setattr(distributed.global_state, "client", notes)
        return notes

    return pretend


def test_the_lead_goes_first_and_the_others_follow(as_host):
    notes, done = as_host(1), []
    unanswered = pytest.raises(ValueError, match=r"Host 0 did not prepare in 0\.01 s")
    with unanswered, hosts.lead_first("prepare", 0.01):
        done.append("body")
    assert done == []
    notes.written = {"0": "done"}
    with hosts.lead_first("prepare", 0.01):
        done.append("body")
    assert done == ["body"]
    assert notes.written == {"0": "done", "1": "done"}


def test_a_fault_on_one_host_is_told_on_all(as_host):
    notes = as_host(0)
    with pytest.raises(OSError, match="no room"), hosts.lead_first("prepare the data", 0.01):
        raise OSError("no room")
    as_host(1)
    with (
        pytest.raises(ValueError, match="Host 0 could not prepare the data: no room"),
        hosts.lead_first("prepare the data", 0.01),
    ):
        raise AssertionError("the body must not run")
    notes.written = {"1": "no such file"}
    as_host(0)
    with (
        pytest.raises(ValueError, match="Host 1 could not prepare the data: no such file"),
        hosts.lead_first("prepare the data", 0.01),
    ):
        notes.written["0"] = "done"


def test_hosts_that_differ_are_refused(as_host):
    as_host(0).written["1"] = "8"
    with pytest.raises(ValueError, match=r"differ in the step \(host 0: 4, host 1: 8\)"):
        hosts.check_same("the step", 4, 0.01)
    hosts.check_same("the step", 8, 0.01)


def test_hosts_of_two_backends_are_refused(as_host, initialized, monkeypatch):
    as_host(0).written["1"] = repr("shard_map")
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "device_count", lambda: 2 * jax.local_device_count())
    with pytest.raises(ValueError, match=r"distributed.backend \(host 0: 'pmap', host 1: 'shard"):
        hosts.join(section())


def test_a_workdir_that_is_not_shared_is_refused(as_host, tmp_path):
    as_host(1)
    with pytest.raises(ValueError, match=r"Host 1 does not see .*config.json.*that they share"):
        hosts.check_shared(tmp_path / "config.json")


def test_this_release_of_jax_has_the_private_client():
    """Fails with the first release of JAX in which `hosts._coordinator` has to change."""
    release = f"JAX {jax.__version__} changed"
    assert hasattr(distributed, "global_state"), release
    assert hasattr(distributed.global_state, "client"), release
    client = distributed._jax.DistributedRuntimeClient
    for method in ("key_value_set", "blocking_key_value_get", "wait_at_barrier"):
        assert callable(getattr(client, method, None)), f"{release}: no {method}"


def test_a_release_of_jax_without_the_client_is_named(monkeypatch):
    monkeypatch.delattr(distributed, "global_state")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with (
        pytest.raises(ImportError, match=rf"JAX {jax.__version__} has no .* Train on one host, or"),
        hosts.lead_first("prepare", 0.01),
    ):
        raise AssertionError("the body must not run")


# -- Two real processes with two devices each, against this process with four.

PATIENCE = 300  # seconds before a test gives up on a process


@pytest.fixture(scope="module")
def values(scene_folder, tmp_path_factory):
    """What the runs below change in the small configuration."""
    return {
        "data.dataset": "refsegrs/folder",
        "data.folder": str(scene_folder),
        "data.data_dir": str(tmp_path_factory.mktemp("tfds")),
        "optim.learning_rate": 5e-5,  # larger steps make round-off flip a pixel now and then
        "optim.ema_decay": 0.5,
        "train.epochs": 2.0,
        "train.eval_every_epochs": 0.5,
        "eval.num_pictures": 3,
    }


def start(workdir, values):
    return processes.start(
        workdir,
        *(f"--config.{key}={value}" for key, value in values.items()),
        hosts=2,
        devices=2,
        program=("-m", "tests.small_main"),
        config="tests/small_config.py",
    )


def wait_until(reached, running):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        assert [process.poll() for process in running] == [None, None]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(values, tmp_path_factory):
    """A run on two hosts: its workdir."""
    workdir = tmp_path_factory.mktemp("hosts") / "undisturbed"
    codes = processes.finish(start(workdir, values), PATIENCE)
    assert codes == [0, 0], processes.log_file(workdir).read_text()[-3000:]
    return workdir


def test_two_hosts_train_as_one_process_with_as_many_devices(undisturbed, values, tmp_path):
    config = small_config.get_config()
    config.update_from_flattened_dict(values)
    alone = train.train(config, str(tmp_path))
    shared = read_json(undisturbed / "metrics.json")
    assert len(alone["history"]) == 4
    assert_close(shared, alone)
    for name in ("test_00.png", "test_02.png"):
        picture = (undisturbed / "pictures" / name).read_bytes()
        assert picture == (tmp_path / "pictures" / name).read_bytes()


def assert_close(found, wanted):
    """Compares nested reports: numbers up to round-off, all else exactly."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert_close(found[key], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(wanted, rel=1e-4) if isinstance(wanted, float) else wanted)


def test_the_lead_alone_writes_what_all_share(undisturbed):
    assert len(list(undisturbed.glob("events.out.tfevents.*"))) == 1
    assert read_json(undisturbed / "config.json")["distributed"]["process_id"] == 0
    masks = {path.name[:5] for path in (undisturbed / "predictions_test").glob("*.png")}
    assert masks == {f"{index:05d}" for index in range(6)}  # each host wrote its own


def test_stopped_on_one_host_then_killed_on_both_it_ends_in_the_same_bits(
    undisturbed, values, tmp_path
):
    workdir = tmp_path / "disturbed"
    logs = [processes.log_file(workdir, host) for host in range(2)]
    first = start(workdir, values)
    wait_until(lambda: "2 hosts" in logs[0].read_text(), first)  # they have found each other
    first[1].send_signal(signal.SIGTERM)
    assert processes.finish(first, PATIENCE) == [128 + signal.SIGTERM] * 2, logs[0].read_text()
    steps = re.findall(r"Stopped by SIGTERM after step (\d) of 8", logs[0].read_text())
    assert steps == [str(max(saved_steps(workdir)))]
    other = logs[1].read_text().splitlines()  # Gloo, which connects CPUs, has no switch
    assert [line for line in other if not re.search(r"\[Gloo\] |connected peer ranks", line)] == []

    second = start(workdir, values | {"distributed.backend": "shard_map"})  # the others: pmap
    wait_until(lambda: max(saved_steps(workdir)) >= 4, second)
    processes.kill(second)

    assert processes.finish(start(workdir, values), PATIENCE) == [0, 0], logs[0].read_text()
    assert read_json(workdir / "metrics.json") == read_json(undisturbed / "metrics.json")
    # The description of a checkpoint holds a checksum of every array, and the progress.
    one, other = (folder / "checkpoints/8/meta/metadata" for folder in (workdir, undisturbed))
    assert read_json(one) == read_json(other)


def saved_steps(workdir):
    return [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]


def read_json(path):
    return json.loads(path.read_text())
