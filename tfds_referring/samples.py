"""Referring samples before they are written: which words, image and mask belong together."""

import concurrent.futures
import dataclasses
import os
import pathlib
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm.auto
from PIL import Image

from tfds_referring import images
from tfds_referring.run_length import SegmentationError

_UPRIGHT = 1  # of EXIF's orientations
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Sample:
    """One phrase with the files it is about.

    Attributes:
      where: file and record that it stands in, for messages.
      split: `train`, `validation`, `test` or a name of the files' own.
      image_id: unique within the split.
      phrase: the referring expression.
      image: the image's file.
      mask: reads the mask, bool (height, width); raises `SegmentationError`, `PixelError`.
      category: a label of the feature `category`.
      scene: which samples of one place share.
      mask_file: the mask's file, if it is one.
      extras: values of further features.
    """

    where: str
    split: str
    image_id: str
    phrase: str
    image: pathlib.Path
    mask: Callable[[], np.ndarray]
    category: str
    scene: str
    mask_file: pathlib.Path | None = None
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Names the files of the sample that are not there."""
        files = [file for file in (self.image, self.mask_file) if file is not None]
        return [_place(file) for file in files if not file.is_file()]

    def encode(self) -> dict[str, Any]:
        """Returns the values of the features, see `features.triplet`."""
        return {
            "image": encoded_image(self.image),
            "mask": images.to_png(self.mask()[..., None].astype(np.uint8)),
            "expression": self.phrase,
            "image_id": self.image_id,
            "category": self.category,
            "scene": self.scene,
            **self.extras,
        }


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A record that is known to be broken and is not among the samples.

    Attributes:
      name: of the record, such as "train/22187".
      reason: a few words.
    """

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a tree of files holds.

    Attributes:
      samples: in the order of the files.
      left_out: what is known to be broken.
    """

    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...]

    def splits(self) -> dict[str, list[Sample]]:
        """Returns the samples by split; train, validation and test first."""
        parts = {name: [] for name in ("train", "validation", "test")}
        for sample in self.samples:
            parts.setdefault(sample.split, []).append(sample)
        return {name: part for name, part in parts.items() if part}


def encoded_image(file: pathlib.Path) -> bytes:
    """Returns an image as JPEG or PNG, without loss.

    The file's own bytes serve where every reader sees the same pixels in them: upright 8-bit RGB
    as JPEG or PNG. Anything else becomes a PNG of what `images.read_image` sees.

    Raises:
      PixelError: see `images.read_image`.
    """
    with Image.open(file) as image:
        plain = image.format in ("JPEG", "PNG") and image.mode == "RGB"
        upright = image.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
    if plain and upright:
        return file.read_bytes()
    return images.to_png(images.read_image(file))


def words_in(phrase: str) -> bool:
    """Tells whether a phrase says anything: "." does not."""
    return any(map(str.isalnum, phrase))


def shown(value: Any) -> str:
    """Returns a value that a file holds, short enough for a message."""
    return reprlib.repr(value)


def check_ids(samples: Iterable[Sample], problems: list[str]) -> None:
    """Reports ids that occur twice in a split."""
    first: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        earlier = first.setdefault((sample.split, sample.image_id), sample)
        if earlier is not sample:
            problems.append(
                f"{sample.where}: id {shown(sample.image_id)} again, first at {earlier.where}; ids "
                "are unique within a split"
            )


def check_pixels(samples: Sequence[Sample], problems: list[str]) -> None:
    """Decodes every image once and every mask, on all cores, and reports what is wrong.

    Nothing is cached: a dataset of 17,402 images is 33 GB of pixels.
    """
    by_image = defaultdict(list)
    for sample in samples:
        by_image[sample.image].append(sample)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        checked = pool.map(_check_image, by_image.values())
        for part in tqdm.auto.tqdm(
            checked, "Checking images and masks", len(by_image), unit="image"
        ):
            problems.extend(part)


def _place(file: pathlib.Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _check_image(samples: Sequence[Sample]) -> list[str]:
    """Returns the problems of one image and its masks."""
    file, problems, shape = samples[0].image, [], None
    try:
        shape = images.read_image(file).shape[:2]
    except images.PixelError as error:
        problems.append(f"{samples[0].where}: {_place(file)} {error}")
    for sample in samples:
        try:
            mask_shape = sample.mask().shape
        except (images.PixelError, SegmentationError) as error:
            named = f"mask {_place(sample.mask_file)}" if sample.mask_file else "mask"
            problems.append(f"{sample.where}: its {named} {error}")
            continue
        if shape and shape != mask_shape:
            problems.append(
                f"{sample.where}: image {file.name} is {shape[1]}x{shape[0]} but its mask is "
                f"{mask_shape[1]}x{mask_shape[0]}; they must be equal"
            )
    return problems
