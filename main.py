"""Trains and evaluates referring remote sensing image segmentation.

  python main.py --config=configs/quickstart.py --workdir=runs/quickstart
  python main.py --config=configs/quickstart.py --workdir=runs/quickstart --mode=evaluate

Any key of the config can be overridden: --config.train.epochs=20. A run goes on where it stopped
when the same command is given again.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from rrsis_jax import command

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The configuration, like configs/quickstart.py.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints, metrics and pictures.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate"], "Train and evaluate, or evaluate the best checkpoint."
)
_SPLIT = flags.DEFINE_enum(
    "split", "test", ["train", "validation", "test"], "The split that --mode=evaluate evaluates."
)
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    """Runs the mode that the flags name."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument(s): {' '.join(argv[1:])}. Flags begin with --.")
    # Imported now, because it takes seconds: a mistyped flag should be answered at once.
    from rrsis_jax import session

    session.start()
    from rrsis_jax import preemption, results, train

    if _MODE.value == "train":
        try:
            train.train(_CONFIG.value, _WORKDIR.value)
        except preemption.Stopped as stopped:
            logging.info("%s", stopped)
            sys.exit(128 + stopped.signal)  # the shell's convention
    else:
        results.evaluate_run(_CONFIG.value, _WORKDIR.value, _SPLIT.value)


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; a wrong key of the config gets a sentence, not a stack trace."""
    try:
        rest = app.parse_flags_with_usage(argv)
        _CONFIG.value.lock()  # a config file that failed to load says so when it is used
        return rest
    except (AttributeError, KeyError, OSError, TypeError) as error:
        unknown = isinstance(error.args[0], KeyError)  # ml_collections wraps it, with near names
        reason = f"There is no key {error.args[0].args[0]}" if unknown else str(error)
        sys.exit(f"Error: {reason}\nconfigs/default.py explains every key of a configuration.")


def run() -> None:
    """Entry point: faults of the user's making end in one message, not in a stack trace."""
    logging.set_verbosity(logging.INFO)
    command.run(
        lambda: app.run(main, flags_parser=_parse),
        "Finished checkpoints are kept; a dataset that was being prepared is begun anew. "
        "Give the same command again to go on.",
    )


if __name__ == "__main__":
    run()
