"""What a training looks like on a terminal of 80 and 120 columns, in a file and in a notebook."""

import io
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

from rrsis_jax.terminal import lines, screen
from tests.terminal import play
from tests.terminal.emulator import Emulator
from tests.terminal.pseudo_terminal import Program

ROOT = pathlib.Path(__file__).parents[2]
SNAPSHOTS = pathlib.Path(__file__).parent / "snapshots"
PLAY = [sys.executable, "-m", "tests.terminal.play"]


def on_terminal(columns, *arguments, **environment):
    """Returns exit code, emulator and all that was written."""
    program = Program([*PLAY, *arguments], columns, environment)
    code, written = program.finish(60)
    return code, Emulator(columns).feed(written), written


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_looks_like_its_snapshot(columns):
    code, terminal, _ = on_terminal(columns)
    assert code == 0, terminal.text()
    parts = [*terminal.photographs, terminal.text()]
    seen = ("\n" + "═" * columns + "\n").join(parts) + "\n"
    assert seen == (SNAPSHOTS / f"training_{columns}.txt").read_text(encoding="utf-8")
    assert all(len(line) <= columns for line in seen.splitlines())
    assert terminal.was_styled
    assert (terminal.hidden, terminal.styled) == (False, False)


def test_without_colours_if_asked():
    _, terminal, written = on_terminal(80, NO_COLOR="1")
    colours = {
        int(n) for found in re.findall(r"\x1b\[([\d;]+)m", written) for n in found.split(";")
    }
    assert not {n for n in colours if 30 <= n <= 107}
    assert "epoch 2/3" in terminal.photographs[2]


def test_a_dumb_terminal_gets_lines():
    _, _, written = on_terminal(80, TERM="dumb")
    assert "\x1b" not in written
    assert "epoch 1 of 3, step 10 of 120" in written


def test_a_crash_leaves_the_terminal_as_it_was():
    code, terminal, written = on_terminal(80, "crash")
    assert code == 1
    assert "\x1b[?25l" not in written  # the cursor was there all the time, even for a kill -9
    assert (terminal.hidden, terminal.styled) == (False, False)
    assert terminal.text().endswith("ValueError: The loss is no number.")
    assert "img/s" not in terminal.text()  # the line that stayed is gone


def test_ctrl_c_leaves_the_terminal_as_it_was():
    wait = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    wait += (
        "from rrsis_jax.cli import command; from rrsis_jax.terminal import screen; import time\n"
    )
    wait += "def main():\n with screen.opened() as s, s.waiting('compiling'): time.sleep(60)\n"
    wait += "command.run(main, 'All is kept.')"
    program = Program([sys.executable, "-c", wait], 80)
    deadline = time.monotonic() + 60
    while "compiling" not in program.written():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    program.process.send_signal(signal.SIGINT)
    code, written = program.finish(60)
    terminal = Emulator(80).feed(written)
    assert code == 130
    assert terminal.text().strip() == "Interrupted. All is kept."
    assert (terminal.hidden, terminal.styled) == (False, False)


def test_a_file_gets_plain_lines_with_the_time(tmp_path):
    done = subprocess.run(
        PLAY,
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.stderr + done.stdout)
    told = [line.partition(" ")[2].partition(" ")[2] for line in done.stderr.splitlines()]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S", x) for x in done.stderr.splitlines())
    assert told[0] == "devices: 2 × cpu"
    assert "epoch 2 of 3, step 50 of 120, loss 0.6876, rate 0.001, 32.0 img/s, 0:23 left" in told
    assert (
        "validation after epoch 1, step 40 of 120: oIoU 70.00, mIoU 60.00, P@0.5 60.00, P@0.7 "
        "60.00, P@0.9 60.00, training loss 0.5000, 3.0 s, the best so far"
    ) in told
    assert told.count("Warning: The phrases of train are long.") == 1
    assert "Error: The bucket is gone." in told
    assert not any("Saving took" in line or "among libraries" in line for line in told)
    assert done.stdout.splitlines()[1].startswith("| split | protocol | samples | oIoU |")


@pytest.mark.filterwarnings("ignore:A note among libraries")
def test_a_notebook_gets_a_line_that_is_overwritten(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(lines, "_SECONDS", 0.0)
    monkeypatch.setattr(play, "photograph", lambda shown: None)
    with screen.opened() as shown:
        assert isinstance(shown, lines.Cell)
        play.play(shown)
    assert "\x1b" not in stream.getvalue()
    assert re.search(r"\repoch 1/3 ━+─+ 10/120  32.0 img/s", stream.getvalue())
    text = Emulator(200).feed(stream.getvalue()).text()
    assert "Warning: The phrases of train are long.\n" in text
    assert "img/s" not in text


def test_a_lost_terminal_does_not_end_the_work(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from rrsis_jax.terminal import screen\n"
        "with screen.opened() as shown, shown.waiting('compiling'):\n"
        "    for k in range(40): shown.show(str(k)); time.sleep(0.02)\n"
        f"open({str(tmp_path / 'done')!r}, 'w').close()\n"
    )
    program = Program([sys.executable, "-c", code], 80)
    deadline = time.monotonic() + 60
    while "compiling" not in program.written():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    program.hang_up()
    program.process.wait(60)
    assert (tmp_path / "done").exists()
