"""A program starts itself once more with large pages, unless it is told not to."""

import os
import subprocess
import sys

import pytest

from rrsis_jax.cli import large_pages

TUNABLE = "glibc.malloc.hugetlb=1"
PROGRAM = """
import os, signal, sys
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), flush=True)
from rrsis_jax.cli import large_pages
large_pages.ask_for()
print(sys.argv[1:], os.getpid(), signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
sys.exit(7)
"""


def starts(**environment):
    """Runs the program; returns GLIBC_TUNABLES at each of its starts, and its last line."""
    kept = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", large_pages.KEEP)}
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", PROGRAM, "a b", "--c=ä"],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    *begun, last = done.stdout.splitlines()
    assert len({line.split()[0] for line in begun}) == 1  # the number of the process stays
    assert last == f"['a b', '--c=ä'] {begun[0].split()[0]} True"
    return [line.partition(" ")[2] for line in begun]


def test_a_program_starts_once_more_as_it_was_started():
    assert starts() == ["None", TUNABLE]


def test_other_tunables_stay():
    other = "glibc.malloc.arena_max=2"
    assert starts(GLIBC_TUNABLES=other) == [other, f"{other}:{TUNABLE}"]


@pytest.mark.parametrize(
    "chosen", [{"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, {large_pages.KEEP: "1"}]
)
def test_what_the_user_chose_stays(chosen):
    assert len(starts(**chosen)) == 1


@pytest.mark.parametrize("other", ["darwin", "win32"])
def test_other_systems_do_nothing(other, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv(large_pages.KEEP, raising=False)
    monkeypatch.setattr(sys, "platform", other)
    monkeypatch.setattr(os, "execve", None)
    large_pages.ask_for()
