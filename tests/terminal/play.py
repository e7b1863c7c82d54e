"""Plays a training to a screen, with a clock that is set by hand: python -m tests.terminal.play.

`crash` as an argument ends it in an error while the line stays.
"""

import logging
import os
import sys
import warnings

import tqdm.auto
from absl import logging as absl_logging

from rrsis_jax.evaluation import scores
from rrsis_jax.terminal import live, screen
from rrsis_jax.terminal.training import TrainingView
from tests.terminal.emulator import MARK

PER_EPOCH, TOTAL, BATCH = 40, 120, 8


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def photograph(shown):
    """Draws, and marks the place for the emulator; only a terminal has what is drawn."""
    if isinstance(shown, live.Terminal):
        shown.refresh()
        os.write(1, MARK.encode())  # the screen's own streams take no such character


def record(step, miou):
    metrics = dict.fromkeys(scores.COLUMNS, miou)
    return {"step": step, "epoch": step / PER_EPOCH, "train_loss": 0.5, **metrics, "oIoU": 0.7}


def play(shown):
    shown.fact("devices", "2 × cpu")
    with tqdm.auto.tqdm(desc="Generating train examples...", total=80, unit=" examples") as bar:
        bar.update(60)
        bar.start_t = bar.last_print_t = bar._time() - 30  # half a minute ago
        photograph(shown)
    clock = Clock()
    view = TrainingView(shown, PER_EPOCH, TOTAL, BATCH, clock)
    with view.running(0):
        clock.now = 12.0
        photograph(shown)
        for step in range(1, 81):
            view.stepped(step)
            clock.now += 0.25
            if step % 10 == 0:
                losses = [1.0 / (0.01 * k + 1) for k in range(step - 9, step + 1)]
                view.fetched(step, losses, 1e-3)
            if step == 50:
                photograph(shown)
            if step % PER_EPOCH == 0:
                with view.validating():
                    clock.now += 3.0
                view.validated(record(step, 0.6 if step == 40 else 0.55))
        for _ in range(2):
            absl_logging.warning("The phrases of %s are long.", "train")
        logging.getLogger("orbax").warning("Saving took 3 s.")
        logging.getLogger("orbax").error("The bucket is gone.")
        warnings.warn("A note among libraries.", stacklevel=1)
        print("A library prints this.")
        if "crash" in sys.argv:
            raise ValueError("The loss is no number.")
    part = {**record(80, 0.6), "samples": 144}
    part |= {"oIoU interval": [0.68, 0.72], "mIoU interval": [0.58, 0.62]}
    scores.show_table({"test": {**part, "native": part, scores.LANGUAGE_CHECK: 0.0146}})
    shown.commands("a mask", "rrsis-predict --workdir runs/a --image FILE", "--output FOLDER")


if __name__ == "__main__":
    with screen.opened() as opened:
        play(opened)
