"""The command `rrsis-train`, which is also main.py: trains and evaluates.

  rrsis-train --config=quickstart --workdir=runs/quickstart
  rrsis-train --config=quickstart --workdir=runs/quickstart --mode=evaluate --split=test

--config takes the name of a configuration that comes with the package, or the path of a .py file.
Any of its keys can be overridden: --config.train.epochs=20. A run goes on where it stopped when
the same command is repeated.
"""

import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from rrsis_jax import constants
from rrsis_jax.cli import command
from rrsis_jax.configuration import files, schema
from rrsis_jax.terminal import screen

_ADVICE = (
    "For example: rrsis-train --config=quickstart --workdir=runs/quickstart\n"
    "`rrsis-train --help` explains every flag, configs/default.py every key of a configuration."
)
_KEPT = (
    "Finished checkpoints are kept; a dataset that was being prepared is begun anew. "
    "Give the same command again to go on."
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a command line asks for: a locked config, the run's folder, mode and split."""

    config: ml_collections.ConfigDict
    workdir: str
    mode: str
    split: str


def parse(arguments: Sequence[str]) -> Options:
    """Reads a command line, with all overrides of the configuration.

    Args:
      arguments: like `["--config=quickstart", "--workdir=runs/quickstart"]`.

    Raises:
      ValueError: if something is wrong, missing or unknown, with near names.
      SystemExit: with code 0, after the help was printed, if it was asked for.
    """
    argv = ["rrsis-train", *_with_config_path(arguments)]
    values = _define(argv)
    if {"--help", "-help", "-h"} & set(argv):
        print(f"{__doc__}\nFlags:\n{values.module_help(__name__)}")
        sys.exit(0)
    try:
        rest = values(argv)[1:]
    except (flags.Error, AttributeError, KeyError, OSError, TypeError) as error:
        # ml_collections wraps the KeyError of an unknown key, which lists near names.
        cause = error.args[0] if error.args and isinstance(error.args[0], KeyError) else error
        reason = str(error)
        if isinstance(cause, KeyError):
            reason = f"There is no key {cause.args[0]}{_present_names(argv)}"
        raise ValueError(f"{reason}\n{_ADVICE}") from error
    if rest:
        raise ValueError(
            f"Unexpected argument(s): {' '.join(rest)}. Flags begin with --.\n{_ADVICE}"
        )
    for name in ("config", "workdir"):
        if values[name].value is None:
            raise ValueError(f"--{name} is missing.\n{_ADVICE}")
    chosen: dict[str, Any] = {x.name: values[x.name].value for x in dataclasses.fields(Options)}
    return Options(**chosen)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains or evaluates; `arguments` default to those of the process."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    from rrsis_jax.cli import preflight  # the help does without it

    check = preflight.training if options.mode == "train" else preflight.evaluation
    check(options.config, options.workdir)
    flags.FLAGS(["rrsis-train"])  # grain and absl's log want their flags parsed
    # Imported now, because it takes seconds: a mistake should be answered at once.
    from rrsis_jax.distributed import hosts, startup
    from rrsis_jax.training import plan

    with screen.opened() as shown, hosts.joined(options.config.distributed):
        shown.only_errors = not hosts.is_lead()
        plan.check_batch_sizes(options.config)
        startup.start()
        from rrsis_jax.distributed import preemption
        from rrsis_jax.evaluation import evaluate
        from rrsis_jax.training import train

        if options.mode == "train":
            try:
                train.train(options.config, options.workdir)
            except preemption.Stopped as stopped:
                shown.show(str(stopped))
                sys.exit(128 + stopped.signal)  # the shell's convention
        else:
            evaluate.evaluate_run(options.config, options.workdir, options.split)


def run() -> None:
    """Entry point of the process."""
    command.run(main, _KEPT)


def _present_names(arguments: Sequence[str]) -> str:
    """Returns what has become of keys of former versions that a command line sets; "" for none."""
    keys = [re.match(r"--?config\.([\w.]+)", argument) for argument in arguments]
    sentences = [schema.about_key(key[1]) for key in keys if key]
    return "".join(f"\n{sentence}" for sentence in sentences if sentence)


def _define(argv: list[str]) -> flags.FlagValues:
    """Returns flags of their own: importing this module adds none to absl's."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
        "config",
        None,
        f"A configuration: a .py file, or one of {', '.join(files.names())}.",
        flag_values=values,
        lock_config=True,
        sys_argv=argv,
    )
    flags.DEFINE_string(
        "workdir", None, "Folder of checkpoints, metrics and pictures.", flag_values=values
    )
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "evaluate"],
        "Train and evaluate, or evaluate the best checkpoint.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "split",
        "test",
        list(constants.SPLITS),
        "The split that --mode=evaluate evaluates.",
        flag_values=values,
    )
    return values


def _with_config_path(arguments: Sequence[str]) -> list[str]:
    """Replaces the name of a configuration by its file."""
    replaced, takes_value = [], False
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if takes_value:
            argument = str(files.find(argument))
        elif equals and flag in ("--config", "-config"):
            argument = f"--config={files.find(value)}"
        takes_value = not takes_value and argument in ("--config", "-config")
        replaced.append(argument)
    return replaced
