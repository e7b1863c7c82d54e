"""What prepared data hold, as digests: a run goes on with the same data, wherever they lie.

The digests are of pixels and phrases, not of files: a copy of the data at another path, or data
prepared anew with another PNG encoder, are the same data.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from concurrent import futures
from typing import Any, get_type_hints

import numpy as np
import tensorflow_datasets as tfds
import tqdm.auto
from absl import logging

from rrsis_jax import io
from rrsis_jax.data import datasets
from rrsis_jax.data.mixtures import Mixture, own_split
from rrsis_jax.types import Source

FILE = "data.json"
"""Where a run keeps the contents of its data, inside its folder."""

_CACHE = "contents.json"  # in the folder of the prepared data, which never change
_DIGESTED = ("images", "masks", "phrases")


@dataclasses.dataclass(frozen=True)
class Contents:
    """A split.

    Attributes:
      samples: their number.
      targets: how many of their masks have a pixel of a target.
      images: SHA-256 of all images' pixels, in the split's order.
      masks: the same of the masks.
      phrases: the same of the phrases.
    """

    samples: int
    targets: int
    images: str
    masks: str
    phrases: str


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Prepared data.

    Attributes:
      splits: their contents, by name.
      phrases: the different phrases of each split, sorted.
    """

    splits: dict[str, Contents]
    phrases: dict[str, list[str]]


def read(builder: tfds.core.DatasetBuilder | Mixture, num_threads: int = 8) -> Prepared:
    """Reads all samples once; later calls read its cache beside the prepared data.

    Args:
      builder: made by `datasets.prepare`; of a mixture the parts' own splits are read.
      num_threads: threads that decode.

    Raises:
      ValueError: if the data cannot be read.
    """
    if isinstance(builder, Mixture):
        return _joined({name: read(part, num_threads) for name, part in builder.parts.items()})
    folder = pathlib.Path(builder.data_path)
    files = {path.name: path.stat().st_size for path in sorted(folder.glob("*.array_record*"))}
    cached = _cached(folder / _CACHE, files)
    if cached:
        return cached
    sources = {name: datasets.open_split(builder, name) for name in builder.info.splits}
    parts = {name: _digest(source, name, num_threads) for name, source in sources.items()}
    prepared = Prepared(
        {name: contents for name, (contents, _) in parts.items()},
        {name: phrases for name, (_, phrases) in parts.items()},
    )
    document = {"files": files, **dataclasses.asdict(prepared)}
    try:
        io.write_text(folder / _CACHE, json.dumps(document, ensure_ascii=False) + "\n")
    except OSError as error:
        logging.warning("The data are read whole at every start: %s", error)
    return prepared


def _joined(parts: Mapping[str, Prepared]) -> Prepared:
    """Returns what the parts of a mixture hold, under the names that their splits have in it."""
    return Prepared(
        {own_split(x, name): part.splits[x] for name, part in parts.items() for x in part.splits},
        {own_split(x, name): part.phrases[x] for name, part in parts.items() for x in part.phrases},
    )


def load(workdir: pathlib.Path) -> dict[str, Contents] | None:
    """Returns the contents of the data that a run began with; None if it keeps none.

    Raises:
      ValueError: if what it keeps is damaged.
    """
    path = workdir / FILE
    if not path.exists():
        return None
    try:
        return {name: of_document(part) for name, part in io.read_json(path).items()}
    except ValueError as error:
        raise ValueError(
            f"{path} does not say what data the run has: {error} Restore a backup of it; without "
            "the file the run takes the data that it is given."
        ) from error


def save(workdir: pathlib.Path, splits: Mapping[str, Contents]) -> None:
    """Writes what `load` reads, unless it is there already."""
    if load(workdir) != splits:
        document = {name: dataclasses.asdict(part) for name, part in splits.items()}
        io.write_text(workdir / FILE, json.dumps(document, indent=2) + "\n")


def of_document(document: Any) -> Contents:
    """Returns contents from their fields.

    Raises:
      ValueError: if a field is missing, unknown or of another type.
    """
    types = get_type_hints(Contents)
    if not isinstance(document, dict) or {k: type(v) for k, v in document.items()} != types:
        expected = ", ".join(f"{name} ({kind.__name__})" for name, kind in types.items())
        raise ValueError(f"{str(document)!r:.60} does not describe a split; expected {expected}.")
    return Contents(**document)


def differences(then: Mapping[str, Contents], now: Mapping[str, Contents]) -> list[str]:
    """Returns a line on every split of `then` that is not the same in `now`."""
    lines = []
    for name, before in then.items():
        if name not in now:
            lines.append(f"{name}: {before.samples} samples then, no such split now")
        elif before.samples != now[name].samples:
            lines.append(f"{name}: {before.samples} samples then, {now[name].samples} now")
        else:
            other = [k for k in _DIGESTED if getattr(before, k) != getattr(now[name], k)]
            lines += [f"{name}: other {' and '.join(other)}"] if other else []
    return lines


def _cached(path: pathlib.Path, files: Mapping[str, int]) -> Prepared | None:
    """Returns the cache of `read`; None if there is none that fits the files."""
    try:
        document = io.read_json(path)
        splits = {name: of_document(part) for name, part in document["splits"].items()}
        fits = document["files"] == files
        return Prepared(splits, document["phrases"]) if fits else None
    except (ValueError, KeyError, TypeError, AttributeError):  # it is made anew
        return None


def _digest(source: Source, name: str, num_threads: int) -> tuple[Contents, list[str]]:
    """Returns the contents of a split and its different phrases."""

    def look(index: int) -> tuple[bytes, bytes, str, bool]:
        example = source[index]
        phrase = datasets.text(example["expression"])
        image, mask = (_array_digest(example[key]) for key in ("image", "mask"))
        return image, mask, phrase, bool(example["mask"].any())

    digests, phrases, targets = {key: hashlib.sha256() for key in _DIGESTED}, set(), 0
    with futures.ThreadPoolExecutor(num_threads) as pool:
        looked = pool.map(look, range(len(source)))
        bar = tqdm.auto.tqdm(
            looked, f"Reading {name} once", len(source), leave=False, unit="sample"
        )
        for image, mask, phrase, has_target in bar:
            digests["images"].update(image)
            digests["masks"].update(mask)
            digests["phrases"].update(hashlib.sha256(phrase.encode()).digest())
            phrases.add(phrase)
            targets += has_target
    hexadecimal = {key: digest.hexdigest() for key, digest in digests.items()}
    return Contents(len(source), targets, **hexadecimal), sorted(phrases)


def _array_digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).digest()
