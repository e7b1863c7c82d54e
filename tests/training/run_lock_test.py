"""The lock of a run's folder, between real processes."""

import json
import os
import platform
import subprocess
import sys

import pytest
from absl import logging

from rrsis_jax.training import run_lock
from tests.processes import ROOT

HOLD = """
import pathlib, sys, time
from rrsis_jax.training import run_lock
with run_lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def warned(monkeypatch):
    """The warnings of the log."""
    lines = []
    monkeypatch.setattr(logging, "warning", lambda line, *values: lines.append(line % values))
    return lines


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_told_who_is_there_and_since_when(tmp_path, other):
    folder = tmp_path / "run"
    expected = (
        rf"run is in use: process {other.pid} on host {platform.node()} \(since 20\d\d-\d\d-\d\d "
        r"\d\d:\d\d:\d\d UTC\) is training there\. Stop it or wait for its end, or choose another "
        r"--workdir\.$"
    )
    with pytest.raises(ValueError, match=expected):
        run_lock.check_free(folder)
    with pytest.raises(ValueError, match=expected), run_lock.held(folder):
        raise AssertionError("the body must not run")


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path, other, warned):
    folder = tmp_path / "run"
    other.kill()
    other.wait()
    run_lock.check_free(folder)
    with run_lock.held(folder):
        assert json.loads((folder / run_lock.FILE).read_text())["process"] == os.getpid()
    (line,) = warned
    assert f"is taken over; it was left by process {other.pid} on host" in line


def test_a_lock_is_released_at_the_end_and_after_a_fault(tmp_path, warned):
    for _ in range(2):
        with pytest.raises(OSError, match="a fault"), run_lock.held(tmp_path / "new"):
            raise OSError("a fault")
        run_lock.check_free(tmp_path / "new")
    assert (tmp_path / "new" / run_lock.FILE).read_text() == ""
    assert warned == []


def test_a_folder_that_nobody_trained_in_is_free_and_stays_as_it_is(tmp_path):
    run_lock.check_free(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_name_is_no_obstacle(tmp_path, warned):
    (tmp_path / run_lock.FILE).write_text('{"host": ')
    with run_lock.held(tmp_path), pytest.raises(ValueError, match=r"is in use: process"):
        run_lock.check_free(tmp_path)
    assert "left by a process without a name" in warned[0]


def test_a_file_system_without_locks_is_told(tmp_path, warned, monkeypatch):
    def refuse(file, kind):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    with run_lock.held(tmp_path):
        assert "cannot lock files (Operation not supported)" in warned[0]
