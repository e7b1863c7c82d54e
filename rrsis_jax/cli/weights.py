"""The command `rrsis-weights`: imports and exports published checkpoints."""

import pathlib
from collections.abc import Sequence

from rrsis_jax import hub_address
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.configuration import files
from rrsis_jax.terminal import screen


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; `arguments` default to those of the process."""
    options = make_parser().parse_args(arguments)
    config = files.load(options.config)
    # Imported now, because it takes seconds: a mistyped option should be answered at once.
    from rrsis_jax.models import published, registry
    from rrsis_jax.weights import sources, variable_folder

    model = registry.build(config)
    names = options.source
    with screen.opened() as shown, shown.waiting(f"{options.action}ing {', '.join(names)}"):
        if options.action == "import":
            parts = [sources.find(name) for name in names]
            variables, report = published.import_files(parts, model)
            variable_folder.save(options.to, variables)
            sources.keep(pathlib.Path(options.to), parts)
        else:
            variables = variable_folder.load(names[0])
            report = published.export_weights(variables, model, options.to)
    print(report)


def run() -> None:
    """Entry point of the process."""
    command.run(main, "No file was written or changed; give the same command again.")


def make_parser() -> Parser:
    """Returns the parser of `rrsis-weights`; `action` is `import` or `export`."""
    parser = Parser(
        "rrsis-weights",
        "Imports and exports checkpoints in their authors' layout. The folder of\n"
        "an import is one of those that `config.init_from` and `rrsis-predict --weights` take.",
        "rrsis-weights import --from lgce.pth --config lgce_refsegrs --to weights/",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="{import,export}")
    for name, purpose, example, count, source, target in (
        (
            "import",
            "Reads a checkpoint, writes a folder of variables, prints what went where.",
            "rrsis-weights import --from lgce.pth --config lgce_refsegrs --to weights/",
            "+",
            f"checkpoint (.pth, .pt, .bin or .safetensors), folder with one, or {hub_address.FORM};"
            " several where a model's parts are published apart",
            "new folder",
        ),
        (
            "export",
            "Reads a folder of variables, writes a checkpoint file, prints what it holds.",
            "rrsis-weights export --from weights/ --config lgce_refsegrs --to back.pth",
            1,
            "folder of an import",
            "checkpoint: .pth or .safetensors",
        ),
    ):
        action = actions.add_parser(
            name,
            prog=f"rrsis-weights {name}",
            help=purpose,
            description=purpose,
            example=example,
        )
        action.add_argument(
            "--from", dest="source", required=True, metavar="SOURCE", nargs=count, help=source
        )
        action.add_argument(
            "--config", required=True, help="configuration of the model: a name or a .py file"
        )
        action.add_argument("--to", required=True, metavar="PATH", help=target)
    return parser


if __name__ == "__main__":
    run()
