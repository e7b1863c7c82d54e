"""Looks through a dataset before anyone trusts its numbers: the command `rrsis-dataset`.

  rrsis-dataset audit --manual_dir /my/folder
  rrsis-dataset audit --data_dir ~/tensorflow_datasets --config synthetic
  rrsis-dataset audit --dataset rrsisd --manual_dir /data/RRSIS-D

Prints the table and writes audit.md, audit.json and audit.png.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from tfds_referring import audit, audit_report, dataset_audit


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; `arguments` default to those of the process."""
    options = _parser().parse_args(arguments)
    if options.manual_dir and options.dataset != "refsegrs":
        found = dataset_audit.audit_tree(options.dataset, options.manual_dir, options.config)
    elif options.manual_dir:
        found = audit.audit_folder(options.manual_dir)
    else:
        found = audit.audit_prepared(options.data_dir, options.config, options.dataset)
    files = audit_report.write(found, options.output)
    print(audit_report.table(found))
    print("Written:", *files)


def run() -> None:
    """Entry point of the process, also as `rrsis-dataset`."""
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing was written; give the command again.", file=sys.stderr)
        sys.exit(130)  # the shell's convention for Ctrl-C


class _Parser(argparse.ArgumentParser):
    """Answers a mistake with the fault, an example and the way to the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(
            2,
            f"Error: {message}\nFor example: rrsis-dataset audit --manual_dir /my/folder\n"
            "`rrsis-dataset audit --help` explains every option.\n",
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rrsis-dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="{audit}")
    command = commands.add_parser("audit", help="find odd masks, repeats and leaks; describe")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--manual_dir", type=pathlib.Path, help="a folder in the dataset's layout")
    source.add_argument("--data_dir", type=pathlib.Path, help="TFDS's folder of prepared datasets")
    command.add_argument(
        "--dataset", default="refsegrs", help="rrsisd, risbench, …; default %(default)s"
    )
    command.add_argument("--config", default="official", help="of it; default %(default)s")
    command.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("audit"),
        help="folder of what is written (default %(default)s)",
    )
    return parser


if __name__ == "__main__":
    run()
