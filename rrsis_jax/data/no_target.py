"""Phrases that name nothing in an image, to train and to test the answer "none".

A phrase counts as absent from an image if no sample of the split shows the same image with a
phrase of the same category. That is as true as the annotation is complete: rendered scenes are,
and where a data set leaves objects unnamed some of these phrases do name something.
"""

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np

from rrsis_jax.data.datasets import Source, text


class AbsentPhrases:
    """Draws phrases of a split that are absent from the image of one of its samples."""

    def __init__(self, undecoded: Source):
        """Reads phrases, categories and which samples share an image.

        Args:
          undecoded: the split with encoded images.
        """
        phrases_of, tiles = defaultdict(list), []
        shown = defaultdict(set)
        for example in undecoded:
            category, tile = int(example["category"]), hashlib.sha256(example["image"]).digest()
            phrases_of[category].append(text(example["expression"]))
            shown[tile].add(category)
            tiles.append(tile)
        self._phrases_of = dict(sorted(phrases_of.items()))
        self._shown = [frozenset(shown[tile]) for tile in tiles]

    def draw(self, index: int, rng: np.random.Generator) -> str | None:
        """Returns a phrase absent from the image of sample `index`; None if its image has all.

        Every absent category is as likely as the others.
        """
        absent = [category for category in self._phrases_of if category not in self._shown[index]]
        if not absent:
            return None
        phrases = self._phrases_of[absent[rng.integers(len(absent))]]
        return phrases[rng.integers(len(phrases))]


class WithAbsentPhrases:
    """A split in which every sample carries an absent phrase and an empty mask.

    Samples whose image shows every category are left out.
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
