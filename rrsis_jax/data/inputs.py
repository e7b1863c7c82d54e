"""What a model wants fed: images, tokens and stored rows, as the input pipeline reads them."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np

MAIN = "image"  # the image whose square targets, tiles and pages use


@dataclasses.dataclass(frozen=True)
class ImageInput:
    """A square uint8 (size, size, 3) image, made by a bilinear resize of the stored pixels.

    Attributes:
      size: side in pixels.
    """

    size: int


@dataclasses.dataclass(frozen=True)
class ArrayInput:
    """A stored row that a training sample has beside its image, see `data.stored_rows`.

    Attributes:
      shape: of a row.
      dtype: its name, as "uint8".
    """

    shape: tuple[int, ...]
    dtype: str


# Rows of n samples by the array's name, (n, …) each → bool (n,), which of them can be trained on.
Usable = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What one sample consists of, beside its tokens.

    Attributes:
      images: name → image; "image" (`MAIN`) is among them.
      target_size: side of the training and evaluation mask in pixels.
      fill: RGB that stands for pixels without data.
      arrays: name → row of a training sample, stored in the files of `data.arrays.<name>`.
      usable: tells which rows can be trained on; None for all.
    """

    images: Mapping[str, ImageInput]
    target_size: int
    fill: tuple[int, int, int] = (0, 0, 0)
    arrays: Mapping[str, ArrayInput] = dataclasses.field(default_factory=dict)
    usable: Usable | None = None


class Tokenizer(Protocol):
    """Maps a phrase to arrays of fixed shapes.

    Attributes:
      kind: by which `data.tokenizers` finds it again.
    """

    kind: str

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        ...

    @property
    def max_tokens(self) -> int:
        """Word positions N; longer phrases are cut."""
        ...

    def __call__(self, phrase: str) -> dict[str, np.ndarray]:
        """Returns int32 arrays by name, `input_ids` (N,) and `attention_mask` (N,) among them.

        Raises:
          ValueError: if the phrase has no word.
        """
        ...

    def cut_words(self, phrase: str) -> str:
        """Returns the end of a phrase that does not fit into `max_tokens`; "" if all fits."""
        ...

    def num_tokens(self, phrase: str) -> int:
        """Returns how many tokens a phrase has before it is cut."""
        ...

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns the words of a phrase that the vocabulary does not know."""
        ...

    def save(self, folder: pathlib.Path | str) -> None:
        """Writes the tokenizer to a folder."""
        ...


class Consumer(Protocol):
    """What the data of a run is made for: a model, see `models.contract.Model`."""

    def inputs(self) -> Inputs:
        """Returns what a sample consists of."""
        ...

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """Returns the tokenizer, from a hub name or folder, or by the model's own choice."""
        ...
