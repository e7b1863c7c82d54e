"""REFER's files: a pickle of references and a COCO-like JSON of images, masks and classes.

Sources: github.com/lichengunc/refer (refer.py) and the sets made after it: RRSIS-D, UAVid-RIS,
VDD-RIS, RRSIS-HR, NWPU-Refer, RemoteSAM-270K. Beyond REFER, `categories_id` (RRSIS-D) is read as
`category_id`. Every record is checked; a fault never hides another one.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tfds_referring import restricted_pickle
from tfds_referring.samples import shown

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""A file's word for a split → ours; further words stay as they are."""

Id = int | str


@dataclasses.dataclass(frozen=True)
class Ref:
    """One reference: the sentences that mean one annotated target.

    Attributes:
      where: file and record, for messages.
      ref_id: of the reference.
      image_id: of the image.
      ann_id: of the annotation.
      split: in our words, see `SPLITS`.
      sentences: one or more.
    """

    where: str
    ref_id: Id
    image_id: Id
    ann_id: Id
    split: str
    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """An image of the JSON: its file's name and its size in pixels."""

    file_name: str
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Annotation:
    """A target of the JSON.

    Attributes:
      image_id: of the image.
      category_id: of the class.
      segmentation: see `segmentations.decode`.
      box: four numbers as the file has them, or None: sets differ in what they mean.
    """

    image_id: Id
    category_id: Id
    segmentation: Any
    box: tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class Instances:
    """The JSON, by ids.

    Attributes:
      name: of the file, for messages.
      images: by image id.
      annotations: by annotation id.
      categories: names by category id.
    """

    name: str
    images: dict[Id, ImageRecord]
    annotations: dict[Id, Annotation]
    categories: dict[Id, str]


def read_refs(file: pathlib.Path, problems: list[str]) -> list[Ref]:
    """Reads a pickle of references; nothing in it is run, see `restricted_pickle`.

    Args:
      file: such as `refs(unc).p`.
      problems: gets a sentence for everything that is wrong.

    Returns:
      The usable references, in order.
    """
    try:
        records = restricted_pickle.load(file)
    except restricted_pickle.PickleError as error:
        problems.append(str(error))
        return []
    if not isinstance(records, list):
        problems.append(f"{file.name}: holds a {type(records).__name__}; expected a list of refs")
        return []
    refs = [_ref(f"{file.name}: ref {i}", record, problems) for i, record in enumerate(records, 1)]
    return _unique([ref for ref in refs if ref], problems)


def read_instances(file: pathlib.Path, problems: list[str]) -> Instances:
    """Reads `instances.json`.

    Args:
      file: the JSON.
      problems: gets a sentence for everything that is wrong.

    Returns:
      What is usable of it.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        problems.append(f"{file.name}: is no readable JSON ({error}); get the file again")
        content = {}
    if not isinstance(content, dict):
        problems.append(f"{file.name}: holds a {type(content).__name__}; expected an object")
        content = {}
    parts = {}
    for part, read in (("images", _image), ("annotations", _annotation), ("categories", _category)):
        records = content.get(part)
        if not isinstance(records, list):
            if content:
                problems.append(f"{file.name}: has no list {part!r}")
            records = []
        parts[part] = _by_id(f"{file.name}: {part}", records, read, problems)
    return Instances(file.name, **parts)


def read_categories(file: pathlib.Path) -> list[str]:
    """Returns the names of the classes in an `instances.json`, in order.

    Raises:
      ValueError: the file has none that can be read.
    """
    problems: list[str] = []
    names = list(read_instances(file, problems).categories.values())
    if not names:
        raise ValueError(
            f"{file} has no categories: {'; '.join(problems[:3]) or 'the list is empty'}"
        )
    return names


class _RecordError(Exception):
    """What is wrong with one record."""


def _ref(where: str, record: Any, problems: list[str]) -> Ref | None:
    try:
        if not isinstance(record, dict):
            raise _RecordError(f"is a {type(record).__name__}; expected a dict")
        ref_id = _id(record, "ref_id")
        where = f"{where.partition(':')[0]}: ref {ref_id}"
        split = record.get("split")
        if not isinstance(split, str) or not split.isidentifier():
            raise _RecordError(f"has the split {shown(split)}; expected train, val or test")
        return Ref(
            where=where,
            ref_id=ref_id,
            image_id=_id(record, "image_id"),
            ann_id=_id(record, "ann_id"),
            split=SPLITS.get(split, split),
            sentences=_sentences(record.get("sentences")),
        )
    except _RecordError as fault:
        problems.append(f"{where} {fault}")
        return None


def _sentences(records: Any) -> tuple[str, ...]:
    if not isinstance(records, list) or not records:
        raise _RecordError("has no list `sentences`")
    texts = []
    for record in records:
        text = record.get("raw", record.get("sent")) if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise _RecordError("has a sentence without the text `raw` or `sent`")
        texts.append(" ".join(text.split()))
    return tuple(texts)


def _unique(refs: list[Ref], problems: list[str]) -> list[Ref]:
    first: dict[Id, Ref] = {}
    for ref in refs:
        if first.setdefault(ref.ref_id, ref) is not ref:
            problems.append(f"{ref.where} occurs twice; ids of references are unique")
    return list(first.values())


def _by_id(where: str, records: list[Any], read: Any, problems: list[str]) -> dict[Id, Any]:
    by_id: dict[Id, Any] = {}
    for number, record in enumerate(records, 1):
        try:
            if not isinstance(record, dict):
                raise _RecordError(f"is a {type(record).__name__}; expected an object")
            key = _id(record, "id")
            if key in by_id:
                raise _RecordError(f"has the id {key} again; ids are unique")
            by_id[key] = read(record)
        except _RecordError as fault:
            problems.append(f"{where}: record {number} {fault}")
    return by_id


def _image(record: Mapping[str, Any]) -> ImageRecord:
    name = record.get("file_name")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise _RecordError(f"has the file_name {shown(name)}; expected text")
    if "\\" in name or ":" in name or name.startswith("/") or ".." in name.split("/"):
        raise _RecordError(f"has the file_name {shown(name)}, which leaves the folder of images")
    height, width = record.get("height"), record.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise _RecordError(f"has height and width {shown((height, width))}; expected pixels")
    return ImageRecord(name, height, width)


def _annotation(record: Mapping[str, Any]) -> Annotation:
    ids = {_id(record, key) for key in ("category_id", "categories_id") if key in record}
    if len(ids) != 1:
        raise _RecordError(
            "has no category_id or categories_id"
            if not ids
            else f"has two classes: category_id and categories_id are {shown(sorted(ids, key=str))}"
        )
    box = record.get("bbox")
    if box is not None:
        if (
            not isinstance(box, list)
            or len(box) != 4
            or any(type(x) not in (int, float) for x in box)
        ):
            raise _RecordError(f"has the bbox {shown(box)}; expected four numbers")
        box = tuple(box)
    return Annotation(_id(record, "image_id"), ids.pop(), record.get("segmentation"), box)


def _category(record: Mapping[str, Any]) -> str:
    name = record.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _RecordError(f"has the name {shown(name)}; expected text")
    return name.strip()


def _id(record: Mapping[str, Any], key: str) -> Id:
    value = record.get(key)
    if type(value) is not int and type(value) is not str:
        raise _RecordError(f"has the {key} {shown(value)}; expected a number or text")
    return value
