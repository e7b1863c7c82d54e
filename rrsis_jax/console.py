"""Entry points of the console commands: the options are read before the slow imports."""

import argparse
import importlib
import sys

from rrsis_jax import command, parsers, train_command


def train() -> None:
    """Runs `rrsis-train`."""
    train_command.run()


def predict() -> None:
    """Runs `rrsis-predict`."""
    _run(parsers.predict(), "rrsis_jax.predict")


def export() -> None:
    """Runs `rrsis-export`."""
    _run(parsers.export(), "rrsis_jax.export")


def report() -> None:
    """Runs `rrsis-report`."""
    _run(parsers.report(), "rrsis_jax.report")


def compare() -> None:
    """Runs `rrsis-compare`."""
    _run(parsers.compare(), "rrsis_jax.compare")


def weights() -> None:
    """Runs `rrsis-weights`."""
    _run(parsers.weights(), "rrsis_jax.pretrained.__main__")


def _run(parser: argparse.ArgumentParser, module: str) -> None:
    """Reads the options, then imports the module and runs it; Ctrl-C ends either in a line."""
    parser.parse_args(sys.argv[1:])
    command.run(lambda: importlib.import_module(module).run(), "Nothing was begun.")
