"""Looks through a whole dataset for what makes its numbers doubtful: leaks, repeats, odd masks."""

import collections
import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm.auto

from tfds_referring import (
    copies,
    foreground,
    images,
    perceptual_hash,
    phrase_files,
    phrase_forms,
    reading,
    specks,
    target_sizes,
)
from tfds_referring.samples import LeftOut

KINDS = {
    "empty mask": "no pixel is foreground: the sample scores 0 in the usual protocol",
    "full mask": "every pixel is foreground",
    "values between": "mask values other than 0 and 255, as lossy compression makes them",
    "repeated triplet": "the same tile with the same phrase and the same mask",
    "contradicting masks": "the same tile with the same phrase, but different masks",
    "tile in several splits": "identical pixels in more than one split: a leak",
    "near-duplicate tiles": "tiles that look alike but are not identical",
    "near-duplicate tiles in several splits": "tiles that look alike in more than one split",
    "long phrase": "more tokens than a model reads: its end is cut off",
    "unread words": "words that mean nothing to the tokenizer's vocabulary",
}
"""What an audit can find."""

_QUANTILES = {"smallest": 0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1}


@dataclasses.dataclass(frozen=True)
class Item:
    """A triplet with its pixels.

    Attributes:
      split: train, validation or test.
      image_id: unique within the split.
      phrase: the referring expression.
      image: uint8 (height, width, 3).
      mask: bool (height, width), the foreground.
      values: the different grey values of the mask's file, where they should be black and white.
      category: the class that the dataset states or the phrase names, "other" for none.
    """

    split: str
    image_id: str
    phrase: str
    image: np.ndarray
    mask: np.ndarray
    values: tuple[int, ...]
    category: str


@dataclasses.dataclass(frozen=True)
class Record:
    """What an audit keeps of a triplet; `load` reads it again."""

    split: str
    image_id: str
    phrase: str
    category: str
    form: str
    share: float
    specks: int
    shape: tuple[int, int]
    values: tuple[int, ...]
    tile: str
    mask: str
    hash: np.uint64 = dataclasses.field(repr=False)
    thumbnail: np.ndarray = dataclasses.field(repr=False)
    load: Callable[[], Item] = dataclasses.field(repr=False)

    @property
    def name(self) -> str:
        """The split and the id."""
        return f"{self.split}/{self.image_id}"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is odd.

    Attributes:
      kind: one of `KINDS`.
      records: the triplets that it is about.
      detail: a few words more.
    """

    kind: str
    records: tuple[Record, ...]
    detail: str = ""

    @property
    def examples(self) -> list[Record]:
        """The first triplet of every tile in every split; all triplets, if that is only one."""
        firsts = {(record.tile, record.split): record for record in reversed(self.records)}
        return [*reversed(firsts.values())] if len(firsts) > 1 else [*self.records]


@dataclasses.dataclass(frozen=True)
class Audit:
    """What was looked at, what was found, what it is made of, and what is left out of it."""

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
    found = audit(
        builder.info.full_name,
        (read for split in builder.info.splits for read in _from_prepared(builder, split)),
        reader,
    )
    left_out = (builder.info.metadata or {}).get("left_out", [])
    return dataclasses.replace(found, left_out=tuple(LeftOut(**record) for record in left_out))


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
    records = [_record(item, load) for item, load in bar]
    findings = [
        *_odd_masks(records),
        *_repeats(records),
        *_leaks(records),
        *_near(records),
        *_cut_or_unread(records, reader or reading.WordCounter()),
    ]
    return Audit(name, records, findings, statistics(records))


def statistics(records: Sequence[Record]) -> dict[str, Any]:
    """Describes a dataset.

    Returns:
      `splits`, with counts and distributions of each; `triplets per tile`; the `phrases` by
      falling number; `phrases unseen in training` and `words unseen in training` of each other
      split.
    """
    by_split = collections.defaultdict(list)
    for record in records:
        by_split[record.split].append(record)
    phrases = {split: {r.phrase.lower() for r in part} for split, part in by_split.items()}
    words = {split: set(re.findall(r"\w+", " ".join(part))) for split, part in phrases.items()}
    tiles = collections.Counter(record.tile for record in records)
    return {
        "splits": {split: _describe(part) for split, part in by_split.items() if part},
        "triplets per tile": _counts(tiles.values()),
        "phrases": _counts(record.phrase.lower() for record in records),
        "phrases unseen in training": _unseen(phrases),
        "words unseen in training": _unseen(words),
    }


def _unseen(sets: Mapping[str, set[str]]) -> dict[str, list[str]]:
    known = sets["train"]
    return {split: sorted(part - known) for split, part in sets.items() if split != "train"}


def _describe(records: Sequence[Record]) -> dict[str, Any]:
    shares = np.array([record.share for record in records])
    return {
        "triplets": len(records),
        "tiles": len({record.tile for record in records}),
        "different phrases": len({record.phrase.lower() for record in records}),
        "words per phrase": float(np.mean([len(record.phrase.split()) for record in records])),
        "image sizes": _counts(f"{r.shape[1]}x{r.shape[0]}" for r in records),
        "categories": _counts(record.category for record in records),
        "forms": _counts(record.form for record in records),
        "target sizes": _counts(target_sizes.size_of(record.share) for record in records),
        "masks with specks": sum(record.specks > 0 for record in records),
        "specks": sum(record.specks for record in records),
        "target share": {key: float(np.quantile(shares, q)) for key, q in _QUANTILES.items()},
    }


def _counts(values: Iterable[Any]) -> dict[str, int]:
    return {str(key): count for key, count in collections.Counter(values).most_common()}


def _record(item: Item, load: Callable[[], Item]) -> Record:
    code, thumbnail = perceptual_hash.fingerprint(item.image)
    return Record(
        split=item.split,
        image_id=item.image_id,
        phrase=item.phrase,
        category=item.category,
        form=phrase_forms.form_of(item.phrase, item.category),
        share=float(item.mask.mean()),
        specks=specks.count(item.mask),
        shape=item.mask.shape,
        values=item.values,
        tile=_digest(item.image),
        mask=_digest(item.mask),
        hash=code,
        thumbnail=thumbnail,
        load=load,
    )


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def _odd_masks(records: Sequence[Record]) -> Iterator[Finding]:
    for record in records:
        if record.share in (0.0, 1.0):
            yield Finding("full mask" if record.share else "empty mask", (record,))
        between = [value for value in record.values if value not in (0, 255)]
        if between:
            found = f"{len(between)} of them, {min(between)} to {max(between)}"
            yield Finding("values between", (record,), found)


def _repeats(records: Sequence[Record]) -> Iterator[Finding]:
    """Finds the samples of one tile and one phrase."""
    for group in _groups(records, lambda record: (record.tile, record.phrase.lower())):
        masks = len({record.mask for record in group})
        if masks == 1:
            yield Finding("repeated triplet", group, group[0].phrase)
        else:
            yield Finding("contradicting masks", group, f"{group[0].phrase}: {masks} masks")


def _leaks(records: Sequence[Record]) -> Iterator[Finding]:
    for group in _groups(records, lambda record: record.tile):
        splits = _splits(group)
        if len(splits) > 1:
            yield Finding("tile in several splits", group, " and ".join(splits))


def _near(records: Sequence[Record]) -> Iterator[Finding]:
    """Finds groups of tiles that look alike; each group is named by all its triplets."""
    by_tile = collections.defaultdict(list)
    for record in records:
        by_tile[record.tile].append(record)
    tiles = list(by_tile)
    firsts = [by_tile[tile][0] for tile in tiles]
    group_of = list(range(len(tiles)))
    hashes = np.array([record.hash for record in firsts], np.uint64)
    thumbnails = np.array([record.thumbnail for record in firsts])
    for i, j in perceptual_hash.near_pairs(hashes, thumbnails):
        old, new = group_of[j], group_of[i]
        group_of = [new if group == old else group for group in group_of]
    for group in _groups(range(len(tiles)), lambda place: group_of[place]):
        alike = tuple(record for place in group for record in by_tile[tiles[place]])
        splits = _splits(alike)
        kind = "near-duplicate tiles" + (" in several splits" if len(splits) > 1 else "")
        yield Finding(kind, alike, f"{len(group)} tiles in {' and '.join(splits)}")


def _cut_or_unread(records: Sequence[Record], reader: reading.Reader) -> Iterator[Finding]:
    """Finds the phrases that a model reads in part; each is named by all its triplets."""
    by_phrase = collections.defaultdict(list)
    for record in records:
        by_phrase[record.phrase].append(record)
    for phrase, group in by_phrase.items():
        count, unread = reader.num_tokens(phrase), reader.unread_words(phrase)
        if count > reader.max_tokens:
            detail = f"{count} tokens, {reader.max_tokens} are read: {phrase}"
            yield Finding("long phrase", tuple(group), detail)
        if unread:
            yield Finding("unread words", tuple(group), f"{', '.join(unread)} in: {phrase}")


def _groups(members: Iterable[Any], key: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    """Yields the members that share a key, where there are two or more."""
    found = collections.defaultdict(list)
    for member in members:
        found[key(member)].append(member)
    return (tuple(group) for group in found.values() if len(group) > 1)


def _splits(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(record.split for record in records))


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
    item = functools.partial(_item, split, builder.info.features["category"].int2str)
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        source = builder.as_data_source(split)
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
    found = [path for path in copies.prepared_folders(data_dir, dataset) if copies.is_whole(path)]
    fitting = [path for path in found if path.parent.name == config]
    if not fitting:
        names = ", ".join(sorted({path.parent.name for path in found})) or "none"
        raise ValueError(
            f"{data_dir} holds no prepared config {config!r} of {dataset}; it has: {names}. Give "
            "one of them as --config, or TFDS's folder as --data_dir."
        )
    return fitting[-1]
