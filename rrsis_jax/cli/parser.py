"""The parser of the commands, and options that several of them have."""

import argparse
import re
from typing import NoReturn

from rrsis_jax import constants


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with the fault, an example and the way to the help."""

    def __init__(self, prog: str, description: str, example: str, **more):
        super().__init__(
            prog=prog,
            description=f"{description}\n\nExample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        self._example = " ".join(example.replace("\\\n", " ").split())

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.exit(
            2,
            f"Error: {message}\nFor example: {self._example}\n"
            f"`{self.prog} --help` explains every option.\n",
        )


def add_evaluation(parser: Parser, pictures: int, shown: str) -> None:
    """Adds `--split`, `--folder` and `--pictures`, by default `pictures` of what `shown` says."""
    parser.add_argument(
        "--split",
        default="test",
        type=_evaluated_split,
        help="an evaluated split: train, validation or test; of a run on several datasets one of "
        "theirs, like test_rrsisd (default %(default)s)",
    )
    parser.add_argument(
        "--folder", default="", help="the data's folder, where it is not where the run has it"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=pictures,
        metavar="N",
        help=f"{shown} (default %(default)s)",
    )


def _evaluated_split(text: str) -> str:
    if re.fullmatch(constants.EVALUATED, text):
        return text
    raise argparse.ArgumentTypeError(
        f"invalid choice: {text!r} (choose from {', '.join(constants.SPLITS)}; of several datasets "
        "like test_rrsisd)"
    )
