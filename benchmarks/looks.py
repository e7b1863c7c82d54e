"""What does the line of a training cost, on a terminal, in a file and where nothing is shown?

  python -m benchmarks.looks --steps 200

A loop that sleeps in place of each step tells the view what a training tells it. What is measured
is the processor time of the whole process, the thread that draws included.
"""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator

from benchmarks import harness
from rrsis_jax.terminal import live
from rrsis_jax.terminal.lines import Screen
from rrsis_jax.terminal.training import TrainingView

LOOKS = ("nothing", "lines", "terminal")
FETCHED_EVERY = 50  # steps, as `train.log_every`


@contextlib.contextmanager
def opened(look: str) -> Iterator[Screen]:
    """Opens a screen: a pseudo-terminal of 120 columns, or lines, of which errors may be all."""
    with contextlib.ExitStack() as stack:
        if look != "terminal":
            screen = Screen(stack.enter_context(tempfile.TemporaryFile("w")))
            screen.only_errors = look == "nothing"
            yield screen
            return
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        nowhere = subprocess.DEVNULL
        reader = subprocess.Popen(["cat"], stdin=ours, stdout=nowhere, stderr=nowhere)
        os.close(ours)
        screen = live.Terminal(stack.enter_context(os.fdopen(theirs, "w")))
        yield screen
        screen.close()
    reader.wait(10)


def run(look: str, steps: int, seconds: float) -> dict:
    """Returns the processor time that a look takes for each step of so many seconds."""
    with opened(look) as screen:
        view = TrainingView(screen, steps, steps, 8)
        began = time.process_time()
        with view.running(0):
            for step in range(1, steps + 1):
                time.sleep(seconds)
                view.stepped(step)
                if step % FETCHED_EVERY == 0:
                    view.fetched(step, [1.0 / k for k in range(1, FETCHED_EVERY + 1)], 1e-3)
        taken = time.process_time() - began
    share = f"{100 * taken / steps / seconds:.2f} %"
    return {"look": look, "processor ms a step": 1e3 * taken / steps, "of the step": share}


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what it writes."""
    parser = harness.parser(__doc__)
    parser.add_argument("--steps", type=int, default=200, help="steps that are played")
    parser.add_argument("--seconds", type=float, default=0.1, help="how long each of them is")
    arguments = parser.parse_args(argv)
    rows = [run(look, arguments.steps, arguments.seconds) for look in LOOKS]
    return harness.report(rows, arguments)


if __name__ == "__main__":
    main()
