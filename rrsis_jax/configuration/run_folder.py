"""The configuration of a run on disk: written at its start, compared when it goes on."""

import hashlib
import json
import pathlib

import ml_collections

from rrsis_jax import constants, io
from rrsis_jax.configuration import schema


def config_hash(config: ml_collections.ConfigDict) -> str:
    """Returns the SHA-256 of a configuration's JSON with sorted keys, whatever hosts it runs on."""
    shared = {
        key: value for key, value in json.loads(config.to_json()).items() if key != "distributed"
    }
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


FILE = "config.json"

_CHOOSE = "\nUse the same configuration, or choose another --workdir."
_OF_ANOTHER_VERSION = (
    "\nAnother version of this package made the run: this one has not all of its keys. It is ready "
    "for rrsis-predict and rrsis-export; train and evaluate it with its own version, or train anew "
    "with another --workdir."
)


def save_or_check(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes the config of a new run; refuses to continue a run under another config.

    Raises:
      ValueError: see `check`.
    """
    path = workdir / FILE
    if path.exists():
        check(config, workdir)
    else:
        schema.check(config)
        io.write_text(path, config.to_json(indent=2) + "\n")


def check(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses a config under which the workdir's run would have had another result.

    Raises:
      ValueError: if the config cannot be used, the folder holds no run, or listing every key that
        differs with both values.
    """
    schema.check(config)
    rules = schema.rules(config)
    here, there = (schema.flat(_plain(each)) for each in (config, load(workdir)))
    differing = [
        f"  {key}: {there.get(key, 'absent')!r} in the workdir, {here.get(key, 'absent')!r} now"
        for key in sorted(here.keys() | there.keys())
        if here.get(key) != there.get(key) and not (key in rules and rules[key].free)
    ]
    if differing:
        raise ValueError(
            f"{workdir} holds a run with another configuration:\n"
            + "\n".join(differing)
            + (_OF_ANOTHER_VERSION if there.keys() - rules.keys() else _CHOOSE)
        )


def last_checkpoint(workdir: pathlib.Path | str) -> int | None:
    """Returns the step of a run's newest checkpoint, whole or damaged; None if it has none."""
    folder = pathlib.Path(workdir) / constants.CHECKPOINTS_FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=None)


def load(workdir: pathlib.Path | str, data_folder: str = "") -> ml_collections.ConfigDict:
    """Reads the config of a run.

    Args:
      workdir: the run's folder.
      data_folder: where its data are now; "" for where they were.

    Raises:
      ValueError: if the folder holds no run, or its config cannot be read.
    """
    path = pathlib.Path(workdir) / FILE
    if not path.is_file():
        raise ValueError(f"{workdir} holds no run: there is no {FILE} in it. Check --workdir.")
    try:
        config = ml_collections.ConfigDict(schema.upgraded(io.read_json(path))).lock()
        schema.check(config, further_keys=True)
        config.data.folder = data_folder or config.data.folder
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a readable configuration: {error} Restore a backup of it, or start "
            "anew with another --workdir."
        ) from error
    return config


def _plain(config: ml_collections.ConfigDict) -> dict:
    """Returns the config as JSON would give it back: tuples become lists."""
    return json.loads(config.to_json())
