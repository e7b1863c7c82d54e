"""The command `rrsis-export`: a trained model as one folder, and that folder on the hub.

rrsis-export --workdir runs/lgce --output bundle/
rrsis-export --output bundle/ --push me/lgce --license cc-by-4.0 --dry-run
"""

import argparse
import re
from collections.abc import Sequence

from rrsis_jax import hub_address
from rrsis_jax.cli import command
from rrsis_jax.cli.parser import Parser
from rrsis_jax.terminal import screen

_PUSHING = ("license", "private", "overwrite", "dry_run")  # options that mean nothing without it


def make_parser() -> Parser:
    """Returns the parser of `rrsis-export`."""
    parser = Parser(
        "rrsis-export",
        "Exports a trained model as one folder that needs neither its config nor its code.\n"
        "`--push` uploads it to the Hugging Face hub with a filled model card; without\n"
        "`--workdir` it uploads a folder that was exported before.",
        "rrsis-export --workdir runs/quickstart --output bundle/",
    )
    parser.add_argument("--workdir", help="folder of a trained run")
    parser.add_argument(
        "--output", required=True, help="new folder of the bundle; without --workdir the bundle"
    )
    hub = parser.add_argument_group("the Hugging Face hub")
    hub.add_argument("--push", metavar="OWNER/NAME", type=_repo, help="upload the bundle there")
    hub.add_argument(
        "--license",
        type=_licence,
        help="of the weights, by the hub's name, like cc-by-4.0 or other; needed to upload",
    )
    hub.add_argument("--private", action="store_true", help="make a new repository private")
    hub.add_argument(
        "--overwrite", action="store_true", help="replace what the repository holds by the bundle"
    )
    hub.add_argument(
        "--dry-run", action="store_true", help="show what would be uploaded, and upload nothing"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; `arguments` default to those of the process."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    _check(options, parser)
    from rrsis_jax.prediction import model_checks  # the help does without it

    if options.workdir:
        model_checks.check_run(options.workdir)
        model_checks.check_new_bundle(options.output)
    else:
        model_checks.read_bundle_metadata(options.output)
    if options.push and not options.dry_run:
        from rrsis_jax.weights import hub

        hub.check_token(options.push)
    if options.workdir:
        from rrsis_jax.prediction import bundle, trained_model  # slow: a mistake is told before

        with screen.opened() as shown:
            shown.fact("run", options.workdir)
            with shown.waiting("reading the best checkpoint"):
                model = trained_model.from_workdir(options.workdir)
            with shown.waiting("tracing and writing the model"):
                bundle.save(model, options.output)
        print(f"Exported to {options.output}.")
    if options.push:
        _push(options)


def _check(options: argparse.Namespace, parser: Parser) -> None:
    """Refuses options that do not go together."""
    if not options.push:
        useless = [f"--{name.replace('_', '-')}" for name in _PUSHING if getattr(options, name)]
        if useless:
            parser.error(f"{', '.join(useless)} without --push: say where to upload to")
        if not options.workdir:
            parser.error("the following arguments are required: --workdir, or --push")
    elif not options.license:
        parser.error(
            "--push needs --license: say under which licence you give the weights away; the data "
            "and the weights that you began with have theirs"
        )


def _push(options: argparse.Namespace) -> None:
    from rrsis_jax.reporting import publication
    from rrsis_jax.weights import hub

    upload = publication.prepare(options.output, options.push, options.license)
    if options.dry_run:
        print(f"{upload.describe()}\nNothing was uploaded: --dry-run.")
        return
    where = hub.push(options.push, upload.files, options.private, options.overwrite)
    print(f"Uploaded to {where}. `rrsis-predict --bundle {where}` uses it.")


def _repo(text: str) -> str:
    if hub_address.is_repo(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r:.80} is no repository; expected owner/name")


def _licence(text: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r:.80} is no name of a licence; expected the hub's, like cc-by-4.0, mit or other"
    )


def run() -> None:
    """Entry point of the process."""
    command.run(main, "A bundle that is there is whole; give the same command again.")


if __name__ == "__main__":
    run()
