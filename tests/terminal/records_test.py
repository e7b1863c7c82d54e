"""Records: chatter stays away, errors do not, the log of a run has everything."""

import logging
import os
import sys

import pytest
from absl import logging as absl_logging

from rrsis_jax.terminal import quiet, records, screen
from tests.disks import full_disk


@pytest.mark.parametrize("library", ["orbax", "flax", "tensorflow_datasets", "tensorflow"])
def test_of_libraries_only_errors_are_shown(library, capsys):
    with screen.opened():
        logging.getLogger(library).warning("It is %s.", "slow")
        logging.getLogger(library).error("It is %s.", "broken")
        logging.getLogger("jax").warning("No accelerator is used.")
    shown = capsys.readouterr().err
    assert "slow" not in shown
    assert "Error: It is broken.\n" in shown
    assert "Warning: No accelerator is used.\n" in shown


def test_the_log_is_as_before_when_the_screen_is_closed(monkeypatch, capsys):
    root, verbosity = logging.getLogger(), absl_logging.get_verbosity()
    monkeypatch.setattr(root, "handlers", [*root.handlers, logging.StreamHandler(sys.stderr)])
    before = root.handlers[:]
    with screen.opened() as shown:
        absl_logging.warning("Once.")
        with screen.opened() as same:
            assert same is shown
        assert screen.current() is shown
    assert capsys.readouterr().err.count("Once.") == 1
    assert root.handlers == before
    assert absl_logging.get_verbosity() == verbosity


def test_other_hosts_show_errors_alone(capsys):
    with screen.opened() as shown:
        shown.only_errors = True
        shown.show("A line.")
        shown.result("| a table |", lambda width: [])
        absl_logging.warning("A warning.")
        absl_logging.error("An error.")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("Error: An error.\n")
    assert printed.err.count("\n") == 1


def test_the_log_of_a_run_has_what_came_before_its_folder(tmp_path, capsys):
    with screen.opened() as shown, records.collected() as log:
        absl_logging.info("before")
        shown.show("shown")
        log.begin(tmp_path / records.FILE)
        absl_logging.warning("after")
    text = (tmp_path / records.FILE).read_text()
    assert [line.split(" ", 2)[2] for line in text.splitlines()] == [
        "INFO before",
        "INFO shown",
        "WARNING after",
    ]
    assert "before" not in capsys.readouterr().err


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path, capsys):
    with screen.opened() as shown, records.collected() as log:
        log.begin(tmp_path / records.FILE)
        with full_disk(100):
            for _ in range(3):
                shown.show("x" * 60)
    told = capsys.readouterr().err
    assert told.count("takes no more lines: File too large. The work goes on.") == 1
    assert told.count("x" * 60) == 3


def test_what_a_failing_import_says_is_heard(capfd):
    def load():
        os.write(2, b"I0000 a note\nE0000 libfoo is broken\n")
        raise ImportError("libfoo")

    with pytest.raises(ImportError), quiet.held():
        load()
    assert capfd.readouterr().err == "I0000 a note\nE0000 libfoo is broken\n"


def test_of_an_import_that_succeeds_only_errors_are_heard(capfd):
    with quiet.held():
        os.write(2, b"I0000 oneDNN is on\nE0000 failed call to cuInit: UNKNOWN\n")
        os.write(2, b"2026-11-24 21:00:00: E tensorflow/core/a.cc:1] The file is broken\n")
    heard = capfd.readouterr().err
    assert heard == "2026-11-24 21:00:00: E tensorflow/core/a.cc:1] The file is broken\n"
