"""The language check: the same samples with each other's phrases.

A model that listens to the sentence must fail here; one that ignores it scores the same.
"""

import hashlib
from collections import defaultdict
from typing import Any

import numpy as np

from rrsis_jax.data.datasets import phrases
from rrsis_jax.types import Source


class ShuffledPhrases:
    """A split in which every sample carries the phrase of another one.

    Phrases rotate among the samples of a scene (equal image bytes), so that each one still names
    something in its image; a scene with a single sample gets a phrase of another scene.
    """

    def __init__(self, source: Source, undecoded: Source, seed: int = 0):
        """Draws the exchange.

        Args:
          source: the split, decoded.
          undecoded: the same split with encoded images, from which scenes and phrases are read.
          seed: of the exchange.
        """
        self._source = source
        self._phrases = phrases(undecoded)
        self._giver = exchange([_digest(example["image"]) for example in undecoded], seed)

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns sample `index` with its new phrase."""
        return {**self._source[index], "expression": self._phrases[self._giver[index]]}


def exchange(scenes: list[str], seed: int) -> np.ndarray:
    """Returns for each sample the one whose phrase it gets, never itself if there are two.

    Args:
      scenes: (n,) the scene of each sample.
      seed: of the draw.

    Returns:
      int64 (n,), a permutation.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, len(scenes)]))
    members = defaultdict(list)
    for index, scene in enumerate(scenes):
        members[scene].append(index)
    singles = [group[0] for group in members.values() if len(group) == 1]
    groups = [group for group in members.values() if len(group) > 1]
    giver = np.arange(len(scenes))
    for group in [*groups, singles]:
        shuffled = rng.permutation(np.asarray(group, np.int64))
        giver[shuffled] = np.roll(shuffled, 1)
    return giver


def _digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()
