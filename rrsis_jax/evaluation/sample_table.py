"""An evaluation as a table, one row a sample: the single source of every number in a report."""

import csv
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np

from rrsis_jax import constants, io
from rrsis_jax.evaluation import bootstrap, metrics


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample with its pixel counts under both protocols.

    Attributes:
      index: place in the split.
      image_id: the dataset's name of the sample.
      tile: names the image; samples about one image share it.
      phrase: the referring expression.
      category: the class that the phrase names.
      form: `class`, `attribute` or `relation`.
      size: the target's size class.
      target_share: the target's share of the mask's pixels.
      paper_intersection: pixels, at the evaluation's image size.
      paper_union: pixels, at the evaluation's image size.
      native_intersection: pixels, at the mask's own size.
      native_union: pixels, at the mask's own size.
      target: 12 hexadecimal digits of the mask's pixels; "" in tables of version 0.1.
    """

    index: int
    image_id: str
    tile: str
    phrase: str
    category: str
    form: str
    size: str
    target_share: float
    paper_intersection: int
    paper_union: int
    native_intersection: int
    native_union: int
    target: str = ""


LANGUAGE_CHECK = "mIoU, phrases shuffled"
_ABOUT = {
    "split": str,
    "dataset": str,
    "data": dict,
    "image_size": int,
    "model": str,
    "checkpoint_step": int,
    "config_sha256": str,
    LANGUAGE_CHECK: float,
}
_FORMER = {"decoder": "model"}  # keys of version 0.1
_SAMPLE_TYPES = get_type_hints(Sample)
_SAME_DATA = "Evaluate both on the same split of the same dataset."
COLUMNS = tuple(field.name for field in dataclasses.fields(Sample))


@dataclasses.dataclass(frozen=True)
class SampleTable:
    """The samples of one evaluated split, in its order.

    Attributes:
      about: where the numbers come from: split, dataset, what its data hold (see
        `data.contents.Contents`), checkpoint step, hash of the configuration, image size, and the
        language check's mIoU.
      samples: one row each.
    """

    about: dict[str, Any]
    samples: list[Sample]

    def column(self, name: str) -> np.ndarray:
        """Returns one of `COLUMNS` as (n,)."""
        return np.asarray([getattr(sample, name) for sample in self.samples])

    def counts(self, protocol: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns intersections and unions, int64 (n,) each, of `paper` or `native`."""
        return self.column(f"{protocol}_intersection"), self.column(f"{protocol}_union")

    def iou(self, protocol: str) -> np.ndarray:
        """Returns the samples' IoU, float64 (n,), with the protocol's score of empty masks."""
        return metrics.sample_iou(*self.counts(protocol), metrics.EMPTY_SCORES[protocol])

    def summary(self, protocol: str) -> dict[str, float]:
        """Returns the metrics of a protocol, see `metrics.summarize`."""
        return metrics.summarize(*self.counts(protocol), metrics.EMPTY_SCORES[protocol])

    def resample(self, protocol: str, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns bootstrap values of oIoU and mIoU, see `bootstrap.resample`."""
        tiles = [sample.tile for sample in self.samples]
        empty_score = metrics.EMPTY_SCORES[protocol]
        return bootstrap.resample(
            *self.counts(protocol), self.iou(protocol), tiles, seed, empty_score=empty_score
        )

    def intervals(self, protocol: str, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Returns the 95 % intervals of oIoU and mIoU."""
        drawn = self.resample(protocol, seed)
        return {name: bootstrap.interval(values) for name, values in drawn.items()}

    def subset(self, keep: Iterable[bool]) -> "SampleTable":
        """Returns the table of the samples whose flag is set."""
        rows = [sample for sample, chosen in zip(self.samples, keep, strict=True) if chosen]
        return SampleTable(self.about, rows)


def json_file(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Returns where a run keeps a split's table."""
    return folder / f"evaluation_{split}.json"


def save(table: SampleTable, folder: pathlib.Path) -> None:
    """Writes `evaluation_<split>.json` and, for spreadsheets, `evaluation_<split>.csv`."""
    path = json_file(folder, table.about["split"])
    rows = [dataclasses.astuple(sample) for sample in table.samples]
    lines = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps({"about": table.about, "columns": COLUMNS}, indent=2)
    io.write_text(path, f'{head[:-2]},\n  "samples": [\n    {lines}\n  ]\n}}\n')
    with (
        io.replacing(path.with_suffix(".csv")) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([COLUMNS, *rows])


def load(folder: pathlib.Path | str, split: str) -> SampleTable:
    """Reads what `save` wrote.

    Raises:
      ValueError: if the folder holds no evaluation of the split, or one that cannot be read.
    """
    if not re.fullmatch(constants.EVALUATED, split):
        raise ValueError(f"There is no split {split!r}; one of {', '.join(constants.SPLITS)} is.")
    path = json_file(pathlib.Path(folder), split)
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no evaluation of the split {split!r}: there is no {path.name}. Make "
            f"it with `rrsis-train --config=… --workdir={folder} --mode=evaluate "
            f"--split={split.partition('_')[0]}`."
        )
    document = io.read_json(path)
    try:
        rows = [dict(zip(document["columns"], row, strict=True)) for row in document["samples"]]
        table = SampleTable(_checked_about(document["about"]), [_checked(row) for row in rows])
        if not table.samples:
            raise ValueError("there is no sample")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a readable evaluation ({type(error).__name__}: {error}). Evaluate the "
            "split again."
        ) from error
    return table


def names(folders: Sequence[pathlib.Path | str]) -> list[str]:
    """Returns what to call runs side by side: their folders' names, or paths if these are equal."""
    paths = [pathlib.Path(folder).absolute() for folder in folders]
    short = [path.name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def check_same_samples(tables: Mapping[str, SampleTable]) -> None:
    """Refuses evaluations of different samples: other images, phrases or targets.

    Args:
      tables: by name of the run.

    Raises:
      ValueError: naming the first difference, or if there are fewer than two evaluations.
    """
    if len(tables) < 2:
        raise ValueError(f"A comparison needs two evaluations, got {len(tables)}.")
    for name, table in tables.items():
        if not all(table.column("target")):
            raise ValueError(
                f"The evaluation of {name} does not tell its targets, as an older version made it. "
                f"Evaluate {name} again."
            )
    (first, base), *others = tables.items()
    for name, table in others:
        if len(table.samples) != len(base.samples):
            raise ValueError(
                f"{first} has {len(base.samples)} samples, {name} has {len(table.samples)}. "
                f"{_SAME_DATA}"
            )
        for ours, theirs in zip(base.samples, table.samples, strict=True):
            if (ours.tile, ours.phrase) != (theirs.tile, theirs.phrase):
                raise ValueError(
                    f"Sample {ours.index} is {ours.phrase!r} on image {ours.tile} in {first}, but "
                    f"{theirs.phrase!r} on {theirs.tile} in {name}. {_SAME_DATA}"
                )
        _check_same_targets(first, base, name, table)


def _check_same_targets(first: str, base: SampleTable, name: str, table: SampleTable) -> None:
    differing = np.flatnonzero(base.column("target") != table.column("target"))
    if len(differing):
        sample = base.samples[differing[0]]
        raise ValueError(
            f"{first} and {name} were measured against different masks: of {len(differing)} of "
            f"{len(base.samples)} samples, first of sample {sample.index}, {sample.phrase!r} on "
            f"image {sample.tile}. {_SAME_DATA}"
        )


def _checked_about(about: dict[str, Any]) -> dict[str, Any]:
    """Returns what is said about an evaluation, or raises ValueError, KeyError or TypeError."""
    about = {_FORMER.get(key, key): about[key] for key in about}
    for key, kind in _ABOUT.items():
        if not isinstance(about[key], kind) or isinstance(about[key], bool):
            raise ValueError(f"about: {key} is {about[key]!r:.40}, expected {kind.__name__}")
    return about


def _checked(row: dict[str, Any]) -> Sample:
    """Returns a row as a sample, or raises ValueError or TypeError."""
    sample = Sample(**row)
    for name, kind in _SAMPLE_TYPES.items():
        value = getattr(sample, name)
        if not (type(value) is kind or (kind is float and type(value) is int)):
            raise ValueError(f"{name} is {value!r:.40}, expected {kind.__name__}")
    for protocol in metrics.EMPTY_SCORES:
        shared, union = row[f"{protocol}_intersection"], row[f"{protocol}_union"]
        if not 0 <= shared <= union < 2**48:
            raise ValueError(f"sample {sample.index} has {shared} of {union} pixels ({protocol})")
    if not 0.0 <= sample.target_share <= 1.0:
        raise ValueError(f"sample {sample.index} has a target_share of {sample.target_share}")
    return sample
