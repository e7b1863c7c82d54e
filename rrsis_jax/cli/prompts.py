"""The command `rrsis-prompts`: what a coarse run predicts of its training split, for later stages.

rrsis-prompts --workdir runs/dicor --output prompts/
"""

import argparse
from collections.abc import Sequence

from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.terminal import screen


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the prompts of one run; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    from rrsis_jax.cli import preflight  # the help does without it

    section = preflight.prompts(options.workdir, options.output)
    import numpy as np

    from rrsis_jax.evaluation import prompts  # slow: a mistake is answered before

    thresholds = prompts.Thresholds(
        iou=section.iou if options.iou is None else options.iou,
        area=section.area if options.area is None else options.area,
    )
    with screen.opened() as shown:
        shown.fact("run", options.workdir)
        shown.fact("usable from", f"IoU {thresholds.iou:g}, area {thresholds.area:g} of the image")
        files = prompts.make(options.workdir, options.output, thresholds, options.steps)
    usable = np.any([file.usable for file in files], axis=0)
    for file in files:
        made = "made" if file.made else "there already"
        print(f"{file.path}: {file.usable.sum()} of {len(usable)} predictions usable, {made}")
    print(f"{usable.sum()} of {len(usable)} training samples have a usable prompt.")
    print(f"Train a later stage with --config.data.arrays.prompt=\"('{options.output}',)\".")


def run() -> None:
    """Entry point of the process."""
    command.run(main, "Files that are there are whole; give the same command again.")


def make_parser() -> Parser:
    """Returns the parser of `rrsis-prompts`."""
    parser = Parser(
        "rrsis-prompts",
        "Writes what the checkpoints of a run of DiCoR's coarse stage predict of its training\n"
        "split, one file each, which the stages `refiner` and `guide` are trained on. A file is\n"
        "made again only if its checkpoint, the data or a threshold are others.",
        "rrsis-prompts --workdir runs/dicor --output prompts/",
    )
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of a coarse run")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder of the files")
    parser.add_argument(
        "--steps",
        nargs="+",
        type=int,
        default=(),
        metavar="STEP",
        help="checkpoints to take; default: all that the run has kept",
    )
    for name, what in (
        ("iou", "overlap of a prediction with its target"),
        ("area", "share of the image that is predicted"),
    ):
        parser.add_argument(
            f"--{name}",
            type=_share,
            metavar="SHARE",
            help=f"least {what}, from 0 to 1; default: the run's model.prompts.{name}",
        )
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"{text!r:.40} is no number from 0 to 1")


if __name__ == "__main__":
    run()
