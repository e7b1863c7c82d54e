"""The command `rrsis-compare`: evaluations of one split side by side.

rrsis-compare runs/lavt runs/lgce --split test --output comparison.html
"""

from collections.abc import Sequence

from rrsis_jax import constants
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser, add_evaluation
from rrsis_jax.terminal import screen


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes one comparison; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    workdirs = [options.first, *options.others]
    from rrsis_jax.cli import preflight  # the help does without it

    preflight.comparison(workdirs, options.split, options.output)
    from rrsis_jax.reporting import comparison  # slow: a mistake is answered before

    with screen.opened() as shown, shown.waiting("drawing the page"):
        page = comparison.write_comparison(
            workdirs, options.split, options.output, options.pictures, options.folder
        )
    print(page)


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No page was written or changed; give the same command again.")


def make_parser() -> Parser:
    """Returns the parser of `rrsis-compare`."""
    parser = Parser(
        "rrsis-compare",
        "Writes evaluations of one split side by side; differences are to the first run.",
        "rrsis-compare runs/lavt runs/lgce --split test --output comparison.html",
    )
    parser.add_argument("first", metavar="FIRST", help="folder of an evaluated run")
    parser.add_argument("others", nargs="+", metavar="OTHER", help="folders of one or more others")
    parser.add_argument("--output", default="comparison.html", metavar="FILE")
    add_evaluation(parser, 2 * constants.PICTURES, "samples shown")
    return parser


if __name__ == "__main__":
    run()
