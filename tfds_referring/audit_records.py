"""What an audit keeps of a triplet: no pixels, but what tells equal and similar ones."""

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np

from tfds_referring import perceptual_hash, phrase_forms, specks


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


def record_of(item: Item, load: Callable[[], Item]) -> Record:
    """Returns what is stored of a triplet; `load` reads it again."""
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
