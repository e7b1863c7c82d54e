"""The command `rrsis-export`: a trained model as one folder.

rrsis-export --workdir runs/lgce --output bundle/
"""

from collections.abc import Sequence

from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.prediction import model_checks
from rrsis_jax.terminal import screen


def make_parser() -> Parser:
    """Returns the parser of `rrsis-export`."""
    parser = Parser(
        "rrsis-export",
        "Exports a trained model as one folder that needs neither its config nor its code.",
        "rrsis-export --workdir runs/quickstart --output bundle/",
    )
    parser.add_argument("--workdir", required=True, help="folder of a trained run")
    parser.add_argument("--output", required=True, help="new folder of the bundle")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    model_checks.check_run(options.workdir)
    model_checks.check_new_bundle(options.output)
    from rrsis_jax.prediction import bundle, trained_model  # slow: a mistake is answered before

    with screen.opened() as shown:
        shown.fact("run", options.workdir)
        with shown.waiting("reading the best checkpoint"):
            model = trained_model.from_workdir(options.workdir)
        with shown.waiting("tracing and writing the model"):
            bundle.save(model, options.output)
    print(f"Exported to {options.output}.")


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No bundle was made; give the same command again.")


if __name__ == "__main__":
    run()
