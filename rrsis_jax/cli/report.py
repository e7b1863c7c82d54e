"""The command `rrsis-report`: an evaluated run as one HTML file.

rrsis-train --config=… --workdir=runs/quickstart --mode=evaluate --split=test
rrsis-report --workdir runs/quickstart --split test
"""

from collections.abc import Sequence

from rrsis_jax import constants
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser, add_evaluation
from rrsis_jax.terminal import screen


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes one report; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    from rrsis_jax.cli import preflight  # the help does without it

    preflight.report(options.workdir, options.split, options.output)
    from rrsis_jax.reporting import report  # slow: a mistake is answered before

    with screen.opened() as shown, shown.waiting("drawing the page"):
        page = report.write_report(
            options.workdir, options.split, options.output, options.pictures, options.folder
        )
    print(page)


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No page was written or changed; give the same command again.")


def make_parser() -> Parser:
    """Returns the parser of `rrsis-report`."""
    parser = Parser(
        "rrsis-report",
        "Writes an evaluated run as one HTML file that opens from disk.",
        "rrsis-report --workdir runs/quickstart --split test",
    )
    parser.add_argument("--workdir", required=True, metavar="FOLDER", help="the run's folder")
    parser.add_argument("--output", metavar="FILE", help="default: report_<split>.html in workdir")
    add_evaluation(parser, constants.PICTURES, "pictures of each kind")
    return parser


if __name__ == "__main__":
    run()
