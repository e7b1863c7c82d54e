"""What a dataset is made of: counts and distributions of its splits."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfds_referring import target_sizes
from tfds_referring.audit_records import Record

_QUANTILES = {"smallest": 0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1}


def describe(records: Sequence[Record]) -> dict[str, Any]:
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
        "splits": {split: _of_split(part) for split, part in by_split.items() if part},
        "triplets per tile": _counts(tiles.values()),
        "phrases": _counts(record.phrase.lower() for record in records),
        "phrases unseen in training": _unseen(phrases),
        "words unseen in training": _unseen(words),
    }


def _unseen(sets: Mapping[str, set[str]]) -> dict[str, list[str]]:
    known = sets.get("train", set())  # a folder may be for testing alone
    return {split: sorted(part - known) for split, part in sets.items() if split != "train"}


def _of_split(records: Sequence[Record]) -> dict[str, Any]:
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
