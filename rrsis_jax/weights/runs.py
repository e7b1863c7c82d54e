"""What a run's folder was trained to."""

import pathlib

from rrsis_jax import constants
from rrsis_jax.types import Variables
from rrsis_jax.weights.checkpoints import Checkpoints


def is_run(folder: pathlib.Path | str) -> bool:
    """Tells whether a folder has checkpoints of a run."""
    return (pathlib.Path(folder) / constants.CHECKPOINTS_FOLDER).is_dir()


def best(folder: pathlib.Path | str) -> tuple[int, Variables]:
    """Returns step and variables of the best checkpoint by validation mIoU.

    Args:
      folder: of the run.

    Raises:
      CheckpointError: if no checkpoint was validated yet, or the best one is damaged.
    """
    path = pathlib.Path(folder).absolute() / constants.CHECKPOINTS_FOLDER
    saved = Checkpoints(path, read_only=True)
    try:
        return saved.restore_best()
    finally:
        saved.close()
