"""Synthetic triplets: a rendered scene, several phrases about it, and their masks."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from tfds_referring import images, phrase_files
from tfds_refsegrs.synthetic import ids, phrases, plans, render

PHRASES_PER_SCENE = 6
FEWEST_PHRASES = 5
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Scene:
    """A rendered scene.

    Attributes:
      image: uint8 (size, size, 3).
      triplets: (image id, phrase, mask) with uint8 masks (size, size, 1) of 0 and 1.
    """

    image: np.ndarray
    triplets: tuple[tuple[str, str, np.ndarray], ...]


def split_scenes(num_scenes: Sequence[int]) -> dict[str, range]:
    """Numbers the scenes of the splits, no number in two splits.

    Args:
      num_scenes: scenes of train, validation and test.

    Returns:
      The scene numbers of each split.

    Raises:
      ValueError: not three positive counts.
    """
    if len(num_scenes) != len(SPLITS) or min(num_scenes) < 1:
        raise ValueError(
            f"num_scenes is {tuple(num_scenes)}; expected three positive counts, for "
            f"{', '.join(SPLITS)}"
        )
    ends = np.cumsum(num_scenes).tolist()
    starts = [0, *ends[:-1]]
    return {split: range(*span) for split, *span in zip(SPLITS, starts, ends, strict=True)}


def write_folder(
    folder: pathlib.Path, num_scenes: Sequence[int], size: int = 128, seed: int = 0
) -> None:
    """Writes scenes as a folder in RefSegRS's layout, see README.md.

    Args:
      folder: new or empty; created if need be.
      num_scenes: scenes of train, validation and test.
      size: side of the images in pixels, at least 32.
      seed: seed of the scenes.

    Raises:
      ValueError: the folder holds something already, or an argument is no good.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; choose a new folder")
    splits = split_scenes(num_scenes)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for split, numbers in splits.items():
        lines = []
        for number in numbers:
            scene = make_scene(seed, number, size)
            for image_id, phrase, mask in scene.triplets:
                (folder / f"images/{image_id}.png").write_bytes(images.to_png(scene.image))
                (folder / f"masks/{image_id}.png").write_bytes(images.to_png(mask * np.uint8(255)))
                lines.append(f"{image_id} {phrase}\n")
        (folder / phrase_files.PHRASE_FILES[split]).write_text("".join(lines), encoding="utf-8")


def make_scene(seed: int, number: int, size: int) -> Scene:
    """Renders one scene with its triplets.

    Args:
      seed: seed of the dataset.
      number: number of the scene.
      size: side of the image in pixels, at least 32.

    Returns:
      The scene; the same arguments give the same bytes.

    Raises:
      ValueError: `size` is too small to show a vehicle.
    """
    if size < 32:
        raise ValueError(f"size is {size}; expected at least 32 pixels to show vehicles")
    rng = np.random.Generator(np.random.Philox(key=(seed, number)))
    while True:  # a plan whose street hides too much of it is drawn anew
        plan = plans.make_plan(rng)
        rendering = render.render(plan, size, rng)
        candidates = _candidates(plan, rendering.ids, size)
        chosen = phrases.choose(candidates, PHRASES_PER_SCENE, rng)
        if len(chosen) >= FEWEST_PHRASES:
            break
    triplets = [
        (ids.triplet_id(number, k), candidates[i][0].text, candidates[i][1])
        for k, i in enumerate(chosen)
    ]
    return Scene(rendering.image, tuple(triplets))


def _candidates(
    plan: plans.Plan, seen: np.ndarray, size: int
) -> list[tuple[phrases.Phrase, np.ndarray]]:
    """Returns the phrases that are true of the picture, with their masks."""
    counts = np.bincount(seen.ravel(), minlength=len(plan.items))
    visible = counts >= 8 * render.SUPERSAMPLE**2 * (size / 128) ** 2
    seen = seen.astype(np.intp)  # what NumPy would turn the indices to for each mask
    candidates = []
    for phrase in phrases.PHRASES:
        of_kind = np.asarray([item.kind in phrase.kinds for item in plan.items])
        meant = np.asarray([phrase.means(item) for item in plan.items])
        if phrase.proper and not (visible & of_kind & ~meant).any():
            continue
        mask = render.coverage(meant, seen)
        if phrase.fits(mask):
            candidates.append((phrase, mask))
    return candidates
