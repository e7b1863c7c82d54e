"""References and annotations to samples: one for every sentence, united where they mean the same.

Several references of one sentence in one image are one target with several parts (NWPU-Refer): its
mask is their union.
"""

import functools
import pathlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tfds_referring import segmentations, specks
from tfds_referring.class_names import OTHER, ClassNames
from tfds_referring.refer_files import Annotation, Instances, Ref
from tfds_referring.samples import Sample

Extras = Callable[[Ref, Annotation], dict[str, Any]]
SENTENCES = ("all", "first")
"""Which sentences of a reference become samples."""


def samples(
    refs: Iterable[Ref],
    instances: Instances,
    images: pathlib.Path,
    problems: list[str],
    *,
    class_names: ClassNames,
    scene_of: Callable[[str], str],
    sentences: str = "all",
    remove_specks: bool = False,
    extras: Extras = lambda ref, annotation: {},
) -> list[Sample]:
    """Returns the samples of references.

    Args:
      refs: see `refer_files.read_refs`.
      instances: see `refer_files.read_instances`.
      images: the folder that file names are relative to.
      problems: gets a sentence for every reference that cannot be resolved.
      class_names: the classes of `category`.
      scene_of: an image's name without suffix → its scene.
      sentences: "all", or the "first" of each reference.
      remove_specks: whether to remove the specks of masks, see `specks`.
      extras: values of further features from a reference and its annotation.

    Returns:
      In the references' order. A sample's id is that of its reference; where a reference has
      several sentences, followed by "_" and the sentence's number from 0.
    """
    targets: dict[tuple[str, Any, str], list[tuple[Ref, int]]] = defaultdict(list)
    for ref in refs:
        if _resolves(ref, instances, problems):
            chosen = ref.sentences[:1] if sentences == "first" else ref.sentences
            for number, sentence in enumerate(dict.fromkeys(chosen)):
                targets[ref.split, ref.image_id, sentence].append((ref, number))
    numbered = {ref.ref_id for parts in targets.values() for ref, number in parts if number}
    result = []
    for (split, image_id, sentence), parts in targets.items():
        ref, number = parts[0]
        record = instances.images[image_id]
        annotations = [instances.annotations[part.ann_id] for part, _ in parts]
        result.append(
            Sample(
                where=ref.where,
                split=split,
                image_id=f"{ref.ref_id}_{number}" if ref.ref_id in numbered else str(ref.ref_id),
                phrase=sentence,
                image=images / record.file_name,
                mask=functools.partial(
                    _mask,
                    [annotation.segmentation for annotation in annotations],
                    (record.height, record.width),
                    remove_specks,
                ),
                category=_category(annotations, instances, class_names),
                scene=scene_of(pathlib.PurePosixPath(record.file_name).stem),
                extras=extras(ref, annotations[0]),
            )
        )
    return result


def _resolves(ref: Ref, instances: Instances, problems: list[str]) -> bool:
    """Tells whether the image and the annotation of a reference exist and belong together."""
    annotation = instances.annotations.get(ref.ann_id)
    if ref.image_id not in instances.images:
        problems.append(f"{ref.where}: {instances.name} has no image {ref.image_id!r:.40}")
    elif annotation is None:
        problems.append(f"{ref.where}: {instances.name} has no annotation {ref.ann_id!r:.40}")
    elif annotation.image_id != ref.image_id:
        problems.append(
            f"{ref.where}: is about image {ref.image_id!r:.40}, but its annotation "
            f"{ref.ann_id!r:.40} is of image {annotation.image_id!r:.40}"
        )
    elif annotation.category_id not in instances.categories:
        problems.append(
            f"{ref.where}: {instances.name} has no class {annotation.category_id!r:.40}"
        )
    else:
        return True
    return False


def _mask(parts: Sequence[Any], shape: tuple[int, int], remove_specks: bool) -> np.ndarray:
    mask = functools.reduce(np.logical_or, [segmentations.decode(part, shape) for part in parts])
    return specks.remove(mask) if remove_specks else mask


def _category(
    annotations: Sequence[Annotation], instances: Instances, class_names: ClassNames
) -> str:
    """Returns the class of a target; "other" if its parts differ or the list has no such class."""
    labels = {instances.categories[annotation.category_id] for annotation in annotations}
    names = {class_names.spelled(label) for label in labels}
    return (names.pop() or OTHER) if len(names) == 1 else OTHER
