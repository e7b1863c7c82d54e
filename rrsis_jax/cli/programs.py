"""The programs that an installation has, and main.py: each a process of its own.

A module of `rrsis_jax.cli` can be run inside any process; these functions may start it once more.
"""

import importlib

from rrsis_jax.cli import large_pages


def train() -> None:
    """Runs `rrsis-train`, which is also main.py."""
    large_pages.ask_for()
    from rrsis_jax.cli import train

    train.run()


def predict() -> None:
    """Runs `rrsis-predict`."""
    large_pages.ask_for()
    from rrsis_jax.cli import predict

    predict.run()


def export() -> None:
    """Runs `rrsis-export`."""
    from rrsis_jax.cli import export

    export.run()


def report() -> None:
    """Runs `rrsis-report`."""
    from rrsis_jax.cli import report

    report.run()


def compare() -> None:
    """Runs `rrsis-compare`."""
    from rrsis_jax.cli import compare

    compare.run()


def weights() -> None:
    """Runs `rrsis-weights`."""
    from rrsis_jax.cli import weights

    weights.run()


def prompts() -> None:
    """Runs `rrsis-prompts`."""
    from rrsis_jax.cli import prompts

    prompts.run()


def dataset() -> None:
    """Runs `rrsis-dataset`."""
    from rrsis_jax.terminal import screen

    # By name, as the other way round: neither package is imported by the other's commands.
    importlib.import_module("tfds_referring.__main__").run(screen.opened)
