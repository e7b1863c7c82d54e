"""The configuration of a run on disk: written at its start, compared when it goes on."""

import json
import pathlib

import ml_collections

from rrsis_jax import outputs

FILE = "config.json"

# Keys that may differ between the parts of an interrupted run: they do not change its result.
_FREE = (
    "data.data_dir",
    "data.num_threads",
    "data.prefetch",
    "train.log_every",
    "train.profile_steps",
    "eval.batch_size",
    "eval.num_pictures",
    "checkpoint.keep_latest",
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
        outputs.write_text(path, config.to_json(indent=2) + "\n")


def check(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses a config under which the workdir's run would have had another result.

    Raises:
      ValueError: if the folder holds no run, or listing every key that differs with both values.
    """
    here, there = _flat(_plain(config)), _flat(_plain(load(workdir)))
    differing = [
        f"  {key}: {there.get(key, 'absent')!r} in the workdir, {here.get(key, 'absent')!r} now"
        for key in sorted(here.keys() | there.keys())
        if here.get(key) != there.get(key) and key not in _FREE
    ]
    if differing:
        raise ValueError(
            f"{workdir} holds a run with another configuration:\n"
            + "\n".join(differing)
            + "\nUse the same configuration, or choose another --workdir."
        )


def load(workdir: pathlib.Path | str) -> ml_collections.ConfigDict:
    """Reads the config of a run.

    Raises:
      ValueError: if the folder holds no run, or its config cannot be read.
    """
    path = pathlib.Path(workdir) / FILE
    if not path.is_file():
        raise ValueError(f"{workdir} holds no run: there is no {FILE} in it. Check --workdir.")
    try:
        return ml_collections.ConfigDict(json.loads(path.read_text())).lock()
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not a readable configuration: {error}.") from error


def _plain(config: ml_collections.ConfigDict) -> dict:
    """Returns the config as JSON would give it back: tuples become lists."""
    return json.loads(config.to_json())


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(_flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat
