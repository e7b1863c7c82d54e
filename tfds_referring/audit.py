"""Looks through a whole dataset for what makes its numbers doubtful, and describes it."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds
import tqdm.auto

from tfds_referring import (
    audit_findings,
    audit_statistics,
    copies,
    features,
    foreground,
    images,
    phrase_files,
    reading,
)
from tfds_referring.audit_findings import Finding
from tfds_referring.audit_records import Item, Record, record_of
from tfds_referring.samples import LeftOut


@dataclasses.dataclass(frozen=True)
class Audit:
    """What was looked at, its findings, what it is made of, and what is left out of it."""

    name: str
    records: list[Record]
    findings: list[Finding]
    statistics: dict[str, Any]
    left_out: tuple[LeftOut, ...] = ()


def audit_folder(
    folder: pathlib.Path,
    category_of: Callable[[str], str],
    rule: str | None = None,
    reader: reading.Reader | None = None,
) -> Audit:
    """Audits a folder in RefSegRS's layout.

    Args:
      folder: of the images, masks and phrases.
      category_of: returns the class that a phrase names, "other" for none.
      rule: which pixels of the masks are the target, see `phrase_files.read_folder`.
      reader: see `audit`.

    Raises:
      LayoutError: if the folder cannot be prepared; it lists why.
    """
    splits = phrase_files.read_folder(folder, rule=rule)
    return audit(
        str(folder),
        (
            _from_files(split, triplet, category_of, rule)
            for split, part in splits.items()
            for triplet in part
        ),
        reader,
    )


def audit_prepared(
    data_dir: pathlib.Path,
    config: str,
    dataset: str = "refsegrs",
    reader: reading.Reader | None = None,
) -> Audit:
    """Audits a dataset that TFDS has prepared.

    Args:
      data_dir: TFDS's folder, which holds `<dataset>/<config>/<version>`.
      config: name of the config, as the folder has it.
      dataset: name of the dataset.
      reader: see `audit`.

    Raises:
      ValueError: if the folder holds no such dataset; it lists what there is.
    """
    builder = tfds.builder_from_directory(_find_prepared(data_dir, config, dataset))
    audited = audit(
        builder.info.full_name,
        (read for split in builder.info.splits for read in _from_prepared(builder, split)),
        reader,
    )
    left_out = (builder.info.metadata or {}).get("left_out", [])
    return dataclasses.replace(audited, left_out=tuple(LeftOut(**record) for record in left_out))


def audit(
    name: str,
    triplets: Iterable[tuple[Item, Callable[[], Item]]],
    reader: reading.Reader | None = None,
) -> Audit:
    """Audits triplets.

    Args:
      name: of the dataset, for the report.
      triplets: each with a function that reads it again, for the pictures.
      reader: the tokenizer of the model to be trained; without it words are counted.
    """
    bar = tqdm.auto.tqdm(triplets, desc="Auditing", unit="triplet")
    records = [record_of(item, load) for item, load in bar]
    findings = audit_findings.find(records, reader or reading.WordCounter())
    return Audit(name, records, findings, audit_statistics.describe(records))


def _from_files(
    split: str,
    triplet: phrase_files.Triplet,
    category_of: Callable[[str], str],
    rule: str | None,
) -> tuple[Item, Callable[[], Item]]:
    rule = rule or foreground.ABOVE_50

    def load() -> Item:
        values = images.read_values(triplet.mask)
        grey = rule == foreground.ABOVE_50  # else the values are ids
        return Item(
            split,
            triplet.image_id,
            triplet.phrase,
            images.read_image(triplet.image),
            foreground.select(values, rule),
            foreground.different(values) if grey else (),
            category_of(triplet.phrase),
        )

    return load(), load


def _from_prepared(
    builder: tfds.core.DatasetBuilder, split: str
) -> Iterator[tuple[Item, Callable[[], Item]]]:
    item = functools.partial(_item, split, features.category(builder.info).int2str)
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        source: Any = builder.as_data_source(split)
        for i in range(len(source)):
            yield item(source[i]), lambda i=i: item(source[i])
        return

    def load(i: int) -> Item:  # without random access a single triplet is a split of its own
        one = builder.as_dataset(f"{split}[{i}:{i + 1}]")
        return item(next(iter(tfds.as_numpy(one))))

    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    whole = builder.as_dataset(split, read_config=in_order)
    for i, example in enumerate(tfds.as_numpy(whole)):
        yield item(example), functools.partial(load, i)


def _item(split: str, name_of: Callable[[int], str], example: Mapping[str, Any]) -> Item:
    """Returns a prepared triplet; its mask is 0 and 1, the file's values are gone."""
    return Item(
        split,
        example["image_id"].decode(),
        example["expression"].decode(),
        example["image"],
        example["mask"][..., 0] > 0,
        values=(),
        category=name_of(int(example["category"])),
    )


def _find_prepared(data_dir: pathlib.Path, config: str, dataset: str) -> pathlib.Path:
    """Returns the newest version's folder."""
    prepared = [
        path for path in copies.prepared_folders(data_dir, dataset) if copies.is_whole(path)
    ]
    fitting = [path for path in prepared if path.parent.name == config]
    if not fitting:
        names = ", ".join(sorted({path.parent.name for path in prepared})) or "none"
        raise ValueError(
            f"{data_dir} holds no prepared config {config!r} of {dataset}; it has: {names}. Give "
            "one of them as --config, or TFDS's folder as --data_dir."
        )
    return fitting[-1]
