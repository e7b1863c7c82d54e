"""RRSIS-D's text without its pickle: the XML files of `ann_split`, matched to masks by their boxes.

An XML file is DIOR-RSVG's: several objects with a description each, of which only the last one has
a mask in RRSIS-D (RMSIN issue 32). Boxes are the same whole numbers in XML and JSON.
"""

import pathlib
import re
from xml.etree import ElementTree

from tfds_referring.refer_files import SPLITS, Instances, Ref

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_refs(folder: pathlib.Path, instances: Instances, problems: list[str]) -> list[Ref]:
    """Returns one reference for every annotation of the JSON.

    Args:
      folder: holds `<image name>.xml`.
      instances: the JSON.
      problems: gets a sentence for every annotation whose text is missing.

    Returns:
      In the JSON's order; ids of references are those of annotations, as in RRSIS-D's pickle.
    """
    refs = []
    for ann_id, annotation in instances.annotations.items():
        image = instances.images.get(annotation.image_id)
        if image is None:
            problems.append(
                f"{instances.name}: annotation {ann_id} is of image {annotation.image_id}, which "
                "the file does not have"
            )
            continue
        file = folder / pathlib.PurePosixPath(image.file_name).with_suffix(".xml")
        try:
            split, sentence = _read(file, annotation.box)
        except ValueError as error:
            problems.append(f"{file.name}: {error}")
            continue
        refs.append(Ref(file.name, ann_id, annotation.image_id, ann_id, split, (sentence,)))
    return refs


def _read(file: pathlib.Path, box: tuple[float, ...] | None) -> tuple[str, str]:
    """Returns the split and the description of the object with this box."""
    if not file.is_file():
        raise ValueError("missing, so there is no text for its image")
    content = file.read_bytes()
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", content, re.IGNORECASE):
        raise ValueError("declares entities, which no file of RRSIS-D does; it is not read")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(f"is no readable XML ({error})") from error
    split = (root.findtext("split") or "").strip()
    if split not in SPLITS:
        raise ValueError(f"has the split {split!r:.40}; expected train, val or test")
    objects = [entry for entry in root.findall("object") if _box(entry) == box]
    if not objects:
        raise ValueError(f"has no object with the box {box} of its annotation")
    with_mask = [entry for entry in objects if entry.find("segmentation") is not None]
    description = ((with_mask or objects)[-1].findtext("description") or "").strip()
    if not description:
        raise ValueError(f"has no description of the object with the box {box}")
    return SPLITS[split], " ".join(description.split())


def _box(entry: ElementTree.Element) -> tuple[int, ...] | None:
    sides = [(entry.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
    try:
        return tuple(int(side) for side in sides)
    except ValueError:
        return None
