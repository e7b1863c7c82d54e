"""The phrases of synthetic scenes, in the three forms of RefSegRS, and the choice among them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfds_refsegrs.synthetic import plans

LIGHT_DUTY = ("car", "van")
VEHICLES = ("car", "van", "truck", "bus", "trailer")


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A phrase and the items that it means.

    Attributes:
      text: the phrase.
      kinds: kinds of items it can mean.
      tags: tags that an item must have.
      weight: relative chance of being chosen.
      surface: whether it means a large surface rather than small objects.
      proper: whether it may only be used where the scene also has items of `kinds` without `tags`.
      smallest: fewest mask pixels, counted at 128x128; by default those of one small vehicle.
    """

    text: str
    kinds: tuple[str, ...]
    tags: frozenset[str] = frozenset()
    weight: float = 1.0
    surface: bool = False
    proper: bool = False
    smallest: int = 32

    def means(self, item: plans.Item) -> bool:
        """Tells whether `item` is meant."""
        return item.kind in self.kinds and self.tags <= item.tags

    def fits(self, mask: np.ndarray) -> bool:
        """Tells whether a mask (size, size, 1) shows enough of what is meant, but not all over."""
        fewest = max(4, self.smallest * mask.size / 128**2)
        return fewest <= mask.sum() <= LARGEST_SHARE * mask.size


def _surface(text: str, *kinds: str, tag: str = "", weight: float = 1.0, smallest=120) -> Phrase:
    tags = frozenset({tag} if tag else ())
    return Phrase(text, kinds, tags, weight, surface=True, proper=bool(tag), smallest=smallest)


def _thing(text: str, *kinds: str, tag: str = "", weight=1.0, proper=True) -> Phrase:
    return Phrase(text, kinds, frozenset({tag} if tag else ()), weight, proper=bool(tag) and proper)


PHRASES = (
    _surface("road", "road", "road marking"),
    _surface("building", "building"),
    _surface("tree", "tree"),
    _surface("low vegetation", "low vegetation"),
    _surface("impervious surface", "impervious surface", "stall line"),
    _surface("sidewalk", "sidewalk"),
    _surface("large building", "building", tag="large", weight=1.0, smallest=400),
    _surface("building along the road", "building", tag="along the road", weight=0.7),
    _surface("tree along the road", "tree", tag="along the road", weight=0.4),
    _surface("sidewalk along with tree", "sidewalk", tag="along with tree", weight=0.7),
    _surface(
        "low vegetation surrounded by building",
        "low vegetation",
        tag="surrounded by building",
        weight=0.9,
    ),
    _thing("bikeway", "bikeway", weight=0.9),
    _thing("road marking", "road marking", weight=0.7),
    _thing("vehicle", *VEHICLES, weight=0.9),
    _thing("light-duty vehicle", *LIGHT_DUTY, weight=0.7),
    _thing("car", "car", weight=0.7),
    _thing("van", "van", weight=0.7),
    _thing("truck", "truck", weight=0.8),
    _thing("bus", "bus"),
    _thing("trailer", "trailer", weight=0.7),
    _thing("red car", "car", tag="red", weight=0.5),
    _thing("blue car", "car", tag="blue", weight=0.5),
    _thing("long truck", "truck", tag="long", weight=0.6, proper=False),
    _thing("vehicle driving on the road", *VEHICLES, tag="driving", weight=0.9),
    _thing("vehicle in the parking area", *VEHICLES, tag="parking", weight=0.6),
    _thing("trailer in the parking area", "trailer", tag="parking", weight=0.5, proper=False),
)

LARGEST_SHARE = 0.7
"""Masks that cover more of the image than this are not used."""

MAX_OVERLAP = 0.35
"""Largest intersection over union of two masks of one scene."""


def choose(
    candidates: Sequence[tuple[Phrase, np.ndarray]], count: int, rng: np.random.Generator
) -> list[int]:
    """Picks phrases whose masks differ, surfaces and small objects in turn.

    Args:
      candidates: phrases with their masks, uint8 (height, width, 1).
      count: how many to pick at most.
      rng: source of the choice.

    Returns:
      Indices into `candidates`; fewer than `count` if no more differ enough.
    """
    chosen: list[int] = []
    left = list(range(len(candidates)))
    want_surface = bool(rng.random() < 0.5)
    while left and len(chosen) < count:
        pool = [i for i in left if candidates[i][0].surface == want_surface] or left
        weights = np.asarray([candidates[i][0].weight for i in pool])
        pick = pool[int(rng.choice(len(pool), p=weights / weights.sum()))]
        left.remove(pick)
        if all(_overlap(candidates[pick][1], candidates[i][1]) <= MAX_OVERLAP for i in chosen):
            chosen.append(pick)
            want_surface = not want_surface
    return chosen


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 1.0
