"""Trains and evaluates referring remote sensing image segmentation.

  python main.py --config=configs/quickstart.py --workdir=runs/quickstart
  python main.py --config=configs/quickstart.py --workdir=runs/quickstart --mode=evaluate

Any key of the config can be overridden: --config.train.epochs=20. A run goes on where it stopped
when the same command is given again.
"""

import sys

import jax
import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_flags

from rrsis_jax import results, train

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
    tf.config.set_visible_devices([], "GPU")  # TensorFlow only reads data; JAX computes
    tf.config.set_visible_devices([], "TPU")
    logging.info("JAX %s on %s", jax.__version__, jax.devices())
    if _MODE.value == "train":
        train.train(_CONFIG.value, _WORKDIR.value)
    else:
        results.evaluate_run(_CONFIG.value, _WORKDIR.value, _SPLIT.value)


def run() -> None:
    """Entry point: faults of the user's making end in one message, not in a stack trace."""
    logging.set_verbosity(logging.INFO)
    try:
        app.run(main)
    except (ValueError, FloatingPointError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    run()
