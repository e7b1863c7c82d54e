"""Entry points of the console commands: the options are read before the slow imports."""

import sys

from rrsis_jax import parsers, train_command


def train() -> None:
    """Runs `rrsis-train`."""
    train_command.run()


def predict() -> None:
    """Runs `rrsis-predict`."""
    parsers.predict().parse_args(sys.argv[1:])
    from rrsis_jax import predict as command

    command.run()


def export() -> None:
    """Runs `rrsis-export`."""
    parsers.export().parse_args(sys.argv[1:])
    from rrsis_jax import export as command

    command.run()


def report() -> None:
    """Runs `rrsis-report`."""
    parsers.report().parse_args(sys.argv[1:])
    from rrsis_jax import report as command

    command.run()


def compare() -> None:
    """Runs `rrsis-compare`."""
    parsers.compare().parse_args(sys.argv[1:])
    from rrsis_jax import compare as command

    command.run()


def weights() -> None:
    """Runs `rrsis-weights`."""
    parsers.weights().parse_args(sys.argv[1:])
    from rrsis_jax.pretrained import __main__ as command

    command.run()
