"""Arrays on disk that a model wants in training, one row a sample of the training split.

Files are named one by one or by their folder. A file may have a description beside it,
<file>.json: its SHA-256, and what it was made of. With one it is refused where it was changed
since, or made of other data. A run keeps the SHA-256 of the files that it began with.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrsis_jax import io
from rrsis_jax.data.inputs import ArrayInput, Inputs

FILE = "arrays.json"
"""Where a run keeps the digests of its files, inside its folder."""

_CHUNK = 1024  # rows that are looked at at once


class StoredRows:
    """Random access to the rows of its inputs.

    Several files of one array are its versions, such as what several checkpoints predict: every
    visit of a sample draws one that is usable for it. An array of one file has that in all.

    Attributes:
      samples: int (n,), the places in the split of the samples with a usable row, ascending.
    """

    def __init__(self, files: Mapping[str, Sequence[str]], inputs: Inputs, num_samples: int):
        """Opens the files; the rows themselves are read when they are asked for.

        Args:
          files: name → .npy files, or folders of them, (num_samples, …) each.
          inputs: names the arrays and their shapes, and tells which rows are usable.
          num_samples: of the training split.

        Raises:
          ValueError: if an array has no file or another number of files than the others, a file
            is not what `inputs` describes, or no sample has a usable row.
        """
        opened = {
            name: [_open(name, file, wanted, num_samples) for file in find(files.get(name, ()))]
            for name, wanted in inputs.arrays.items()
        }
        self._versions = _in_versions(opened)
        self._usable = np.stack([_usable(arrays, inputs, num_samples) for arrays in self._versions])
        self.samples = np.flatnonzero(self._usable.any(axis=0))
        if not len(self.samples):
            raise ValueError(
                f"No training sample has a usable row in {_keys(inputs.arrays)}. Make these files "
                "anew."
            )

    def draw(self, sample: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Returns a usable row of each array, all of one version.

        Args:
          sample: its place in the split, one of `samples`.
          rng: draws the version.
        """
        versions = np.flatnonzero(self._usable[:, sample])
        arrays = self._versions[versions[rng.integers(len(versions))]]
        return {name: np.array(rows[sample]) for name, rows in arrays.items()}


def find(named: Sequence[str]) -> list[pathlib.Path]:
    """Returns files, and of a folder its .npy files, shorter names first.

    Raises:
      ValueError: if a folder has none.
    """
    files = []
    for path in map(pathlib.Path, named):
        inside = sorted(path.glob("*.npy"), key=lambda file: (len(file.name), file.name))
        if path.is_dir() and not inside:
            raise ValueError(f"{path} (data.arrays) holds no .npy file. Name another folder.")
        files += inside or [path]
    return files


def _open(name: str, file: pathlib.Path, wanted: ArrayInput, num_samples: int) -> np.ndarray:
    """Returns the file's array without reading it."""
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{file} (data.arrays.{name}) cannot be read as a .npy file: {error}"
        ) from error
    shape = (num_samples, *wanted.shape)
    if not isinstance(rows, np.ndarray) or (rows.shape, rows.dtype) != (shape, wanted.dtype):
        held = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else "several arrays"
        raise ValueError(
            f"{file} (data.arrays.{name}) holds {held}; the model and the training split ask for "
            f"{wanted.dtype} {shape}, one row a sample in the split's order. Make it anew, or name "
            "another file."
        )
    return rows


def _in_versions(opened: Mapping[str, Sequence[np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Returns the k-th file of every array for each k."""
    missing = [name for name, rows in opened.items() if not rows]
    if missing:
        raise ValueError(
            f"The model trains on stored rows: name their .npy files in {_keys(missing)}."
        )
    counts = {len(rows) for rows in opened.values()} - {1}
    if len(counts) > 1:
        numbers = ", ".join(f"{len(rows)} of {name}" for name, rows in opened.items())
        raise ValueError(
            f"data.arrays has {numbers}: files belong together by their place, so give every "
            "array as many, or one for all."
        )
    return [
        {name: rows[k if len(rows) > 1 else 0] for name, rows in opened.items()}
        for k in range(max(counts, default=1))
    ]


def _usable(arrays: Mapping[str, np.ndarray], inputs: Inputs, num_samples: int) -> np.ndarray:
    """Returns bool (num_samples,)."""
    if inputs.usable is None:
        return np.ones(num_samples, bool)
    parts = [
        inputs.usable({name: rows[start : start + _CHUNK] for name, rows in arrays.items()})
        for start in range(0, num_samples, _CHUNK)
    ]
    return np.concatenate(parts)


def _keys(names: Sequence[str] | Mapping[str, ArrayInput]) -> str:
    return ", ".join(f"data.arrays.{name}" for name in names)


def save(path: pathlib.Path, rows: np.ndarray, made_of: Mapping[str, Any]) -> None:
    """Writes a .npy file and its description.

    Args:
      path: of the file.
      rows: (samples, …), in the split's order.
      made_of: what JSON can hold; "data", see `RunData.described`, is compared with a run's
        training split.
    """
    with io.replacing(path) as partial, partial.open("wb") as file:
        np.save(file, rows)
    text = json.dumps({"sha256": _sha256(path), "made_of": made_of}, indent=2)
    io.write_text(_description(path), text + "\n")


def is_made_of(path: pathlib.Path, made_of: Mapping[str, Any]) -> bool:
    """Tells whether a file is there, whole, and its description says that it was made of this."""
    if not (path.exists() and _description(path).exists()):
        return False
    try:
        described = io.read_json(_description(path))
    except ValueError:  # it is made anew
        return False
    return described.get("made_of") == made_of and described.get("sha256") == _sha256(path)


def check_descriptions(
    files: Mapping[str, Sequence[str]], data: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Refuses files that their descriptions do not fit; files without one are taken as they are.

    Args:
      files: name → .npy files, or folders of them.
      data: what the training split holds, see `RunData.described`.

    Returns:
      name → SHA-256 of each of its files.

    Raises:
      ValueError: naming the first such file.
    """
    return {name: [_checked(path, data) for path in find(named)] for name, named in files.items()}


def _checked(path: pathlib.Path, data: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a file that its description, if there is one, fits."""
    digest = _sha256(path)
    if not _description(path).exists():
        return digest
    try:
        described = io.read_json(_description(path))
    except ValueError as error:
        raise ValueError(f"{path} is not used: {error} Make it anew.") from error
    if described.get("sha256") != digest:
        raise ValueError(f"{path} was changed since it was made, so it is not used. Make it anew.")
    made_of = described.get("made_of")
    if isinstance(made_of, dict) and made_of.get("data", data) != data:
        raise ValueError(
            f"{path} was made of other data than the training split that the run has. Make it "
            "anew of a run on these data."
        )
    return digest


def keep(workdir: pathlib.Path, digests: Mapping[str, Sequence[str]]) -> None:
    """Writes what `changed` compares with, if there are any files."""
    if digests:
        io.write_text(workdir / FILE, json.dumps(digests, indent=2) + "\n")


def changed(workdir: pathlib.Path, digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the names whose files are not those that the run began with; none of a new run."""
    if not (workdir / FILE).exists():
        return []
    then = io.read_json(workdir / FILE)
    return [name for name in {**then, **digests} if then.get(name) != digests.get(name)]


def _description(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.json")


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_augmentation(changes: Mapping[str, float | str]) -> None:
    """Refuses changes of a sample that its stored rows would not follow.

    Args:
      changes: the section `data.augment`.

    Raises:
      ValueError: naming the keys.
    """
    still = {"geometry": "none", "crop_scale": 1.0, "absent_phrases": 0.0}
    moving = [f"data.augment.{key}" for key, value in still.items() if changes[key] != value]
    if moving:
        raise ValueError(
            f"{', '.join(moving)} would change samples, and their stored rows (data.arrays) would "
            "stay as they are. Leave these changes out."
        )
