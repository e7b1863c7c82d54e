"""Phrases that name nothing in an image, to train and to test the answer "none".

A phrase counts as absent from an image if no sample of the split shows the same image with a
phrase about the same kind of thing, see `tfds_refsegrs.categories.head_of`. That is as true as the
annotation is complete: rendered scenes are, and where a data set leaves objects unnamed some of
these phrases do name something.
"""

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np

from rrsis_jax.data.datasets import Source, text
from tfds_refsegrs import categories


class AbsentPhrases:
    """Draws phrases of a split that are absent from the image of one of its samples."""

    def __init__(self, undecoded: Source):
        """Reads the phrases, what they are about, and which samples share an image.

        Args:
          undecoded: the split with encoded images.
        """
        phrases_of, tiles = defaultdict(list), []
        shown = defaultdict(set)
        for example in undecoded:
            phrase, tile = text(example["expression"]), hashlib.sha256(example["image"]).digest()
            head = categories.head_of(phrase)
            phrases_of[head].append(phrase)
            shown[tile].add(head)
            tiles.append(tile)
        # RefSegRS's classes come first, in their order, so that its draws do not hang on the rest.
        order = {name: place for place, name in enumerate(categories.CLASSES)}
        heads = sorted(phrases_of, key=lambda head: (order.get(head, len(order)), head))
        self._phrases_of = {head: phrases_of[head] for head in heads}
        self._shown = [frozenset(shown[tile]) for tile in tiles]

    def any(self) -> bool:
        """Tells whether a phrase is absent from at least one image."""
        return any(self._phrases_of.keys() - shown for shown in self._shown)

    def draw(self, index: int, rng: np.random.Generator) -> str | None:
        """Returns a phrase absent from the image of sample `index`; None if its image has all.

        Every kind of thing that the image does not show is as likely as the others.
        """
        absent = [head for head in self._phrases_of if head not in self._shown[index]]
        if not absent:
            return None
        phrases = self._phrases_of[absent[rng.integers(len(absent))]]
        return phrases[rng.integers(len(phrases))]


class WithAbsentPhrases:
    """A split in which every sample carries an absent phrase and an empty mask.

    Samples whose image shows all kinds of things are left out.
    """

    def __init__(self, source: Source, undecoded: Source, seed: int = 0):
        """Draws the phrases.

        Args:
          source: the split, decoded.
          undecoded: the same split with encoded images.
          seed: of the draw.
        """
        absent = AbsentPhrases(undecoded)
        rng = np.random.Generator(np.random.Philox(key=[seed, len(source)]))
        drawn = [absent.draw(index, rng) for index in range(len(source))]
        self._source = source
        self._phrases = [(i, phrase) for i, phrase in enumerate(drawn) if phrase is not None]

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self._phrases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a sample with its new phrase."""
        original, phrase = self._phrases[index]
        example = self._source[original]
        return {**example, "expression": phrase, "mask": np.zeros_like(example["mask"])}
