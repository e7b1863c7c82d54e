"""Looks after data before anyone trusts its numbers: the command `rrsis-dataset`.

  rrsis-dataset audit --manual_dir /my/folder
  rrsis-dataset audit --data_dir ~/tensorflow_datasets --config synthetic
  rrsis-dataset audit --dataset rrsisd --manual_dir /data/RRSIS-D
  rrsis-dataset copies

`audit` prints the table and writes audit.md, audit.json and audit.png. `copies` lists the prepared
copies of datasets, and removes those that are named, or all old ones.
"""

import argparse
import contextlib
import importlib
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from tfds_referring import foreground, reading

if TYPE_CHECKING:
    from tfds_referring import copies

_REFSEGRS = "refsegrs"  # whose masks may need to be told which pixels are the target


def main(
    arguments: Sequence[str] | None = None,
    shown: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Runs one command.

    Args:
      arguments: those of the process by default.
      shown: returns what the work is done inside of, such as a screen that draws its bars.
    """
    options = _parser().parse_args(arguments)
    with shown():
        options.run(options)


def run(
    shown: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Entry point of the process, also as `rrsis-dataset`; see `main`."""
    try:
        main(shown=shown)
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing was written; give the command again.", file=sys.stderr)
        sys.exit(130)  # the shell's convention for Ctrl-C


def _audit(options: argparse.Namespace) -> None:
    if options.foreground:
        _check_foreground(options)
    from tfds_referring import audit, audit_report, dataset_audit  # slow: a mistake comes before

    reader = _reader(options)
    if not options.manual_dir:
        report = audit.audit_prepared(options.data_dir, options.config, options.dataset, reader)
    elif options.dataset == _REFSEGRS:
        rule = foreground.rule(options.foreground) if options.foreground else None
        # By name: this package is below the datasets' own.
        category_of = importlib.import_module("tfds_refsegrs").category_of
        report = audit.audit_folder(options.manual_dir, category_of, rule, reader)
    else:
        report = dataset_audit.audit_tree(
            options.dataset, options.manual_dir, options.config, reader
        )
    files = audit_report.write(report, options.output)
    print(audit_report.table(report))
    print("Written:", *files)


def _check_foreground(options: argparse.Namespace) -> None:
    if not options.manual_dir:
        raise ValueError(
            "--foreground is for --manual_dir: the masks below --data_dir are prepared already. "
            "Leave it out."
        )
    if options.dataset != _REFSEGRS:
        raise ValueError(
            f"--foreground is for folders in RefSegRS's layout: {options.dataset} knows which "
            "pixels of its masks are the target. Leave it out."
        )


def _reader(options: argparse.Namespace) -> reading.Reader:
    if not options.tokenizer:
        return reading.WordCounter(options.max_tokens)
    # By name: the dataset stands without the models; only this wish needs their tokenizer.
    wordpiece = importlib.import_module("rrsis_jax.data.tokenizers.wordpiece")
    return wordpiece.load(options.tokenizer, options.max_tokens)


def _copies(options: argparse.Namespace) -> None:
    from tfds_referring import copies  # slow: the help does without

    root = options.data_dir.expanduser()
    prepared = copies.find(root)
    if not prepared:
        print(f"{root} holds no prepared copy of a dataset.")
        return
    old = [copy for copy in prepared if copy.state == copies.OLD]
    unwanted = _unwanted(options, prepared, old)
    if not (options.remove or options.remove_old):
        print(copies.table(prepared))
        if old:
            print(f"`rrsis-dataset copies --remove_old` frees {copies.megabytes(old)}.")
        return
    size = copies.megabytes(unwanted)
    copies.remove(unwanted)
    print(f"Removed {len(unwanted)}, {size}:", *(copy.name for copy in unwanted))


def _unwanted(
    options: argparse.Namespace, prepared: "Sequence[copies.Copy]", old: "Sequence[copies.Copy]"
) -> "list[copies.Copy]":
    names = [copy.name for copy in prepared]
    unknown = [name for name in options.remove if name not in names]
    if unknown:
        raise ValueError(
            f"{options.data_dir} holds no copy {unknown[0]!r}; it holds: {', '.join(names)}. "
            "Nothing was removed."
        )
    return [
        copy
        for copy in prepared
        if copy.name in options.remove or (options.remove_old and copy in old)
    ]


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
    commands = parser.add_subparsers(required=True, metavar="{audit,copies}")
    _add_audit(commands.add_parser("audit", help="find odd masks, repeats and leaks; describe"))
    _add_copies(commands.add_parser("copies", help="list prepared copies; remove old ones"))
    return parser


def _add_audit(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_audit)
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--manual_dir", type=pathlib.Path, help="a folder in the dataset's layout")
    source.add_argument("--data_dir", type=pathlib.Path, help="TFDS's folder of prepared datasets")
    command.add_argument(
        "--dataset", default=_REFSEGRS, help="rrsisd, risbench, …; default %(default)s"
    )
    command.add_argument("--config", default="official", help="of it; default %(default)s")
    command.add_argument(
        "--foreground",
        help=f"which pixels of the masks in --manual_dir are the target: {foreground.HELP}",
    )
    command.add_argument(
        "--tokenizer",
        help="folder or hub name, like bert-base-uncased or a run's tokenizer/: counts tokens and "
        "finds unread words; without it words are counted",
    )
    command.add_argument(
        "--max_tokens",
        type=int,
        default=reading.MAX_TOKENS,
        help="tokens that the model reads, its model.text.max_tokens (default %(default)s)",
    )
    command.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("audit"),
        help="folder of what is written (default %(default)s)",
    )


def _add_copies(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=_copies)
    command.add_argument(
        "--data_dir",
        type=pathlib.Path,
        default=pathlib.Path("~/tensorflow_datasets"),
        help="TFDS's folder of prepared datasets (default %(default)s)",
    )
    command.add_argument(
        "--remove", action="append", default=[], metavar="COPY", help="a name from the list"
    )
    command.add_argument("--remove_old", action="store_true", help="all copies whose state is old")


if __name__ == "__main__":
    run()
