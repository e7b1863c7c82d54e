"""Whether a folder holds a model, told at once: loading one takes seconds of imports."""

import pathlib

from rrsis_jax import constants, hub_address, io
from rrsis_jax.configuration import files, run_folder
from rrsis_jax.weights import sources

BUNDLE_FORMAT = 3  # raised when a reader of today could not read a bundle any more
BUNDLE_METADATA_FILE = "metadata.json"


def check_run(workdir: pathlib.Path | str) -> None:
    """Refuses a folder without a trained run.

    Raises:
      ValueError: if the folder holds no run, or the run has no checkpoint.
    """
    run_folder.load(workdir)
    check_checkpoints(workdir)


def check_checkpoints(workdir: pathlib.Path | str) -> None:
    """Refuses the folder of a run that has no checkpoint.

    Raises:
      ValueError: see above.
    """
    if run_folder.last_checkpoint(workdir) is None:
        folder = pathlib.Path(workdir) / constants.CHECKPOINTS_FOLDER
        raise ValueError(
            f"There is no checkpoint yet in {folder}. Train first: `rrsis-train --config=… "
            f"--workdir={workdir}`."
        )


def check_weights(source: str, config: str | None) -> None:
    """Refuses weights that there are not, or a configuration that there is not.

    Raises:
      ValueError: see above, or `sources.check`.
    """
    if not config:
        raise ValueError("--weights needs --config, the configuration of the model they are of.")
    files.find(config)
    sources.check(source)


def check_bundle(bundle: str) -> None:
    """Refuses a folder that is no bundle, or a text that is no address on the hub.

    Raises:
      ValueError: see above, or `read_bundle_metadata`.
    """
    if hub_address.is_address(bundle):
        hub_address.parse(bundle)
    else:
        read_bundle_metadata(bundle)


def read_bundle_metadata(folder: pathlib.Path | str) -> dict:
    """Reads what a bundle says of itself.

    Raises:
      ValueError: if the folder is no bundle, or one of another format.
    """
    path = pathlib.Path(folder) / BUNDLE_METADATA_FILE
    if not path.is_file():
        raise ValueError(
            f"{folder} is no complete bundle: there is no {BUNDLE_METADATA_FILE} in it. Make one "
            "with `rrsis-export`."
        )
    metadata = io.read_json(path)
    if metadata.get("format") != BUNDLE_FORMAT:
        raise ValueError(
            f"{path} describes a bundle of format {metadata.get('format')!r:.40}, this version "
            f"reads {BUNDLE_FORMAT}. Export it anew."
        )
    return metadata


def check_new_bundle(folder: pathlib.Path | str) -> None:
    """Refuses to export into a folder that holds something already.

    Raises:
      ValueError: if it does, or is a file.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already. Choose a new --output.")
