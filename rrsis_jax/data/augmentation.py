"""Random changes of a training sample that keep image, mask and phrase true to each other.

Every change takes a sample {"image" (H, W, 3) uint8, "mask" (H, W, 1) uint8, "expression" str,
"index" its number} at its stored size and a random generator, and returns the changed sample. The
generator comes from the sample's place in the run, so a resumed run draws the same changes.
"""

import functools
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np
from PIL import Image, ImageEnhance

from rrsis_jax.data import directions, geometry

Sample = dict[str, Any]
Augment = Callable[[Sample, np.random.Generator], Sample]

_CROP_TRIALS = 10
_BOX_SIDE, _BOXES = 32, (20, 60)  # pixels; fewest and most boxes of an image


def build_augment(
    config: ml_collections.ConfigDict,
    draw_absent: Callable[[int, np.random.Generator], str | None] | None = None,
    seed: int = 0,
) -> Augment | None:
    """Returns the changes that the section `data.augment` switches on; None for none.

    Args:
      config: the section.
      draw_absent: see `AbsentPhrases.draw`; needed if `config.absent_phrases` is above 0.
      seed: of the run, which decides what is drawn once for all passes.
    """
    cut = functools.partial(crop, smallest=config.crop_scale, keep=config.crop_keeps)
    steps: list[Augment] = []
    if config.absent_phrases > 0.0:
        if draw_absent is None:
            raise ValueError(
                f"data.augment.absent_phrases is {config.absent_phrases:g}, but there is nothing "
                "to draw phrases from; give draw_absent."
            )
        steps.append(functools.partial(empty, share=config.absent_phrases, draw=draw_absent))
    if config.crop_scale < 1.0:
        steps.append(cut)
    if config.geometry != "none":
        steps.append(functools.partial(move, choices=GEOMETRIES[config.geometry]))
    if config.photometric > 0.0:
        steps.append(functools.partial(recolour, strength=config.photometric))
    if config.black_boxes > 0.0:
        steps.append(functools.partial(cover, share=config.black_boxes, seed=seed))
    if not steps:
        return None
    return functools.partial(_all_in_turn, steps=steps)


GEOMETRIES = {"none": (geometry.IDENTITY,), "flips": geometry.FLIPS, "all": geometry.ALL}
"""What `data.augment.geometry` and `eval.test_time` may name."""


def _all_in_turn(sample: Sample, rng: np.random.Generator, *, steps: list[Augment]) -> Sample:
    for step in steps:
        sample = step(sample, rng)
    return sample


def empty(
    sample: Sample,
    rng: np.random.Generator,
    *,
    share: float,
    draw: Callable[[int, np.random.Generator], str | None],
) -> Sample:
    """Gives a share of the samples a phrase that names nothing in their image, and no target."""
    if rng.random() >= share:
        return sample
    phrase = draw(sample["index"], rng)
    if phrase is None:
        return sample
    return {**sample, "expression": phrase, "mask": np.zeros_like(sample["mask"])}


def move(
    sample: Sample, rng: np.random.Generator, *, choices: tuple[geometry.Geometry, ...]
) -> Sample:
    """Mirrors and turns a sample by one of `choices`, its direction words with it.

    A phrase whose directions cannot be mapped stays, and so does its image.
    """
    chosen = choices[rng.integers(len(choices))]
    phrase = directions.map_phrase(sample["expression"], chosen)
    if phrase is None:
        return sample
    moved = {key: np.ascontiguousarray(chosen.apply(sample[key])) for key in ("image", "mask")}
    return {**sample, **moved, "expression": phrase}


def crop(sample: Sample, rng: np.random.Generator, *, smallest: float, keep: float) -> Sample:
    """Cuts out a part of the image that holds some of the target.

    Both sides are cut by one factor, drawn from [smallest, 1]. A place that holds less than
    `keep` of the target's pixels is drawn anew; after ten the sample stays whole. So does one
    whose phrase speaks of directions, since they may be meant within the whole image.

    Args:
      sample: see the module.
      rng: random generator.
      smallest: the smallest factor.
      keep: the share of the target's pixels that must remain.
    """
    if directions.has_direction(sample["expression"]):
        return sample
    height, width = sample["mask"].shape[:2]
    needed = keep * np.count_nonzero(sample["mask"])
    for _ in range(_CROP_TRIALS):
        factor = rng.uniform(smallest, 1.0)
        rows, columns = max(round(factor * height), 1), max(round(factor * width), 1)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        window = np.s_[top : top + rows, left : left + columns]
        if np.count_nonzero(sample["mask"][window]) >= needed:
            return {**sample, **{key: sample[key][window] for key in ("image", "mask")}}
    return sample


def recolour(sample: Sample, rng: np.random.Generator, *, strength: float) -> Sample:
    """Changes brightness, contrast and saturation, each by a factor from 1 ± `strength`."""
    image = Image.fromarray(sample["image"])
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1.0 - strength, 1.0 + strength))
    return {**sample, "image": np.asarray(image)}


def cover(sample: Sample, rng: np.random.Generator, *, share: float, seed: int) -> Sample:
    """Draws black squares of 32×32 stored pixels on the images of a share of the samples.

    20 to 60 squares, in new places in every pass, always on the same samples. The mask stays, as
    the phrase still means what is covered. So RMSIN trains (Liu et al., CVPR 2024).

    Args:
      sample: see the module.
      rng: random generator of the squares.
      share: of the samples.
      seed: decides with a sample's number whether it is one of them.
    """
    if np.random.default_rng((seed, sample["index"])).random() >= share:
        return sample
    image = sample["image"].copy()
    height, width = image.shape[:2]
    for _ in range(rng.integers(*_BOXES, endpoint=True)):
        top = rng.integers(max(height - _BOX_SIDE, 0), endpoint=True)
        left = rng.integers(max(width - _BOX_SIDE, 0), endpoint=True)
        image[top : top + _BOX_SIDE, left : left + _BOX_SIDE] = 0
    return {**sample, "image": image}
