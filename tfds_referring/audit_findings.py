"""What makes a dataset's numbers doubtful: odd masks, repeats, leaks, phrases read in part."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfds_referring import perceptual_hash, reading
from tfds_referring.audit_records import Record

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


def find(records: Sequence[Record], reader: reading.Reader) -> list[Finding]:
    """Returns everything that is odd.

    Args:
      records: of all triplets.
      reader: the tokenizer of the model to be trained, or what stands for it.
    """
    return [
        *_odd_masks(records),
        *_repeats(records),
        *_leaks(records),
        *_near(records),
        *_cut_or_unread(records, reader),
    ]


def _odd_masks(records: Sequence[Record]) -> Iterator[Finding]:
    for record in records:
        if record.share in (0.0, 1.0):
            yield Finding("full mask" if record.share else "empty mask", (record,))
        between = [value for value in record.values if value not in (0, 255)]
        if between:
            detail = f"{len(between)} of them, {min(between)} to {max(between)}"
            yield Finding("values between", (record,), detail)


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
    groups = collections.defaultdict(list)
    for member in members:
        groups[key(member)].append(member)
    return (tuple(group) for group in groups.values() if len(group) > 1)


def _splits(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(record.split for record in records))
