"""The folder layout of RefSegRS: reading it, checking all of it, and its fingerprint.

```
images/<id>.tif          (or img_rgb/; .tiff, .png, .jpg, .jpeg too)
masks/<id>.tif           (or mask/)
output_phrase_train.txt  lines `<id> <phrase>`, split at the first space or tab
output_phrase_val.txt    (a file without lines: the split does not exist)
output_phrase_test.txt
```
"""

import collections
import dataclasses
import hashlib
import pathlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tqdm.auto

from tfds_referring import foreground, images

PHRASE_FILES = {
    "train": "output_phrase_train.txt",
    "validation": "output_phrase_val.txt",
    "test": "output_phrase_test.txt",
}
IMAGE_FOLDERS = ("images", "img_rgb")
MASK_FOLDERS = ("masks", "mask")
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_LISTED = 100  # problems in a message
_SHOWN = 60  # characters of a line in a message
_BREAKING = ("Cc", "Zl", "Zp")  # Unicode's control characters, line and paragraph separators


class LayoutError(ValueError):
    """Everything that is wrong with a folder.

    Attributes:
      problems: one sentence per problem, each with its file and line.
    """

    def __init__(self, folder: pathlib.Path, problems: Sequence[str]):
        self.problems = tuple(problems)
        rest = len(self.problems) - _LISTED
        listed = "\n".join(f"  {problem}" for problem in self.problems[:_LISTED])
        listed += f"\n  and {rest} more" if rest > 0 else ""
        super().__init__(
            f"{len(self.problems)} problem(s) in {folder}; nothing was written. Fix them and "
            f"prepare again:\n{listed}"
        )


@dataclasses.dataclass(frozen=True)
class Triplet:
    """One line of a phrase file, with the files it names."""

    image_id: str
    phrase: str
    image: pathlib.Path
    mask: pathlib.Path


@dataclasses.dataclass(frozen=True)
class _Line:
    where: str
    image_id: str
    phrase: str


def find_root(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder that holds the phrase files: `folder` or its only candidate child.

    Args:
      folder: where the user or an archive put the data.

    Returns:
      `folder` itself, or the one subfolder (as archives add) that holds a phrase file.

    Raises:
      LayoutError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise LayoutError(folder, ["is not a folder; give the one that holds the phrase files"])
    if has_phrases(folder):
        return folder
    children = [child for child in sorted(folder.iterdir()) if has_phrases(child)]
    return children[0] if len(children) == 1 else folder


def has_phrases(folder: pathlib.Path) -> bool:
    """Tells whether `folder` holds at least one of the phrase files."""
    return any((folder / name).is_file() for name in PHRASE_FILES.values())


def fingerprint(folder: pathlib.Path) -> str:
    """Identifies a folder's content without decoding it.

    Args:
      folder: a folder in the layout of this module.

    Returns:
      12 hexadecimal digits over the phrase files' bytes and the name, size and modification
      time of every image and mask.

    Raises:
      LayoutError: `folder` is not a folder.
    """
    root = find_root(folder)
    digest = hashlib.sha256()
    for name in PHRASE_FILES.values():
        if (root / name).is_file():
            content = (root / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    for folder_name in (*IMAGE_FOLDERS, *MASK_FOLDERS):
        for file in _files(root / folder_name):
            stat = file.stat()
            entry = f"{folder_name}/{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
            digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def read_folder(
    folder: pathlib.Path,
    expected_counts: Mapping[str, int] | None = None,
    rule: str | None = None,
) -> dict[str, list[Triplet]]:
    """Reads and checks a whole folder, opening every image and mask.

    Args:
      folder: a folder in the layout of this module, or its parent.
      expected_counts: triplets that each split must have, if known.
      rule: which pixels of the masks are the target, see `foreground.rule`; None for those above
        50, if the values of all masks leave no doubt about it.

    Returns:
      The triplets of the splits train, validation and test, in the files' order; none for a file
      without lines.

    Raises:
      LayoutError: lists every problem of every split.
    """
    root = find_root(folder)
    problems: list[str] = []
    lines = {split: _read_lines(root, split, problems) for split in PHRASE_FILES}
    if not problems and not any(lines.values()):
        problems.append("no phrase file has a line `<id> <phrase>`; write one for each triplet")
    _check_counts(lines, expected_counts or {}, problems)
    images = _index(root, IMAGE_FOLDERS, problems)
    masks = _index(root, MASK_FOLDERS, problems)
    triplets = {
        split: _resolve(lines[split] or [], images, masks, problems) for split in PHRASE_FILES
    }
    _check_pixels(triplets, rule, problems)
    if problems:
        raise LayoutError(root, problems)
    return {split: [triplet for _, triplet in pairs] for split, pairs in triplets.items()}


def _read_lines(root: pathlib.Path, split: str, problems: list[str]) -> list[_Line] | None:
    """Returns the usable lines of a phrase file; None if there is no readable file."""
    name = PHRASE_FILES[split]
    if not (root / name).is_file():
        names = ", ".join(sorted(path.name for path in root.iterdir())) or "nothing"
        problems.append(
            f"{name}: missing, so there is no split {split}; the folder has {names}; to do without "
            "the split, make an empty file"
        )
        return None
    try:
        text = (root / name).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        problems.append(f"{name}:{number}: not UTF-8 ({error.reason}); save the file as UTF-8")
        return None
    rows = [(f"{name}:{i}", row) for i, row in enumerate(text.split("\n"), 1) if row.strip()]
    parsed = (_parse(where, row.strip(" \t\r"), problems) for where, row in rows)
    return _without_repeats([line for line in parsed if line], problems)


def _parse(where: str, row: str, problems: list[str]) -> _Line | None:
    image_id, phrase = [*re.split(r"[ \t]+", row, maxsplit=1), ""][:2]
    breaking = [sign for sign in row if unicodedata.category(sign) in _BREAKING and sign != "\t"]
    if breaking:
        problems.append(
            f"{where}: control character {breaking[0]!r} in {_short(row)}; remove it, and end "
            r"lines with \n or \r\n"
        )
    elif any(sign in image_id for sign in "/\\:") or image_id in (".", ".."):
        problems.append(f"{where}: id {_short(image_id)} leaves the folder; use a plain file name")
    elif not phrase.strip():
        problems.append(
            f"{where}: empty phrase after id {_short(image_id)}; expected `<id> <phrase>`"
        )
    elif not any(map(str.isalnum, phrase)):
        problems.append(f"{where}: phrase {_short(phrase)} has no word; say what is meant")
    else:
        return _Line(where, image_id, phrase.strip())
    return None


def _bare(text: str) -> str:
    return _short(text)[1:-1]


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _without_repeats(lines: list[_Line], problems: list[str]) -> list[_Line]:
    first: dict[str, _Line] = {}
    for line in lines:
        earlier = first.setdefault(line.image_id, line)
        if earlier is not line:
            problems.append(
                f"{line.where}: id {_short(line.image_id)} again, first at {earlier.where}; "
                "ids are unique within a split"
            )
    return list(first.values())


def _check_counts(
    lines: Mapping[str, list[_Line] | None], expected: Mapping[str, int], problems: list[str]
) -> None:
    counts = {split: len(lines[split] or []) for split in expected}
    if counts != dict(expected):
        problems.append(
            f"triplets found {_counts(counts)}, expected {_counts(expected)}; if this is not the "
            "official RefSegRS, use the config `folder`"
        )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items())


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    candidates = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return sorted(file for file in candidates if file.is_file())  # a pipe would be waited for


def _index(
    root: pathlib.Path, names: Sequence[str], problems: list[str]
) -> dict[str, list[pathlib.Path]]:
    """Returns the files of the first folder that exists, by file name without suffix."""
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        problems.append(f"no folder {' or '.join(f'{name}/' for name in names)}")
        return {}
    index = collections.defaultdict(list)
    for file in _files(folder):
        index[file.stem].append(file)
    return dict(index)


def _resolve(
    lines: Sequence[_Line],
    images: Mapping[str, list[pathlib.Path]],
    masks: Mapping[str, list[pathlib.Path]],
    problems: list[str],
) -> list[tuple[str, Triplet]]:
    """Returns (where, triplet) for every line whose image and mask exist."""
    pairs = []
    for line in lines:
        image = _only_file(line, "image", images, problems)
        mask = _only_file(line, "mask", masks, problems)
        if image and mask:
            pairs.append((line.where, Triplet(line.image_id, line.phrase, image, mask)))
    return pairs


def _only_file(
    line: _Line, kind: str, index: Mapping[str, list[pathlib.Path]], problems: list[str]
) -> pathlib.Path | None:
    files = index.get(line.image_id, [])
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        problems.append(f"{line.where}: several {kind} files for one id: {names}; keep one")
    else:
        problems.append(
            f"{line.where}: no {kind} file {_bare(line.image_id)} with one of {', '.join(SUFFIXES)}"
        )
    return None


def _check_pixels(
    triplets: Mapping[str, Sequence[tuple[str, Triplet]]], rule: str | None, problems: list[str]
) -> None:
    """Decodes every file.

    Generation decodes again: keeping 4,420 tiles would take gigabytes, and decoding is a small
    part of the time next to PNG encoding.
    """
    census = foreground.Census(rule)
    pairs = [(split, *pair) for split, part in triplets.items() for pair in part]
    for split, where, triplet in tqdm.auto.tqdm(
        pairs, desc="Checking images and masks", unit="pair"
    ):
        image = _read(images.read_image, triplet.image, where, problems)
        values = _read(images.read_values, triplet.mask, where, problems)
        if values is not None:
            census.add(split, f"{triplet.mask.parent.name}/{triplet.mask.name}", values)
        if image is not None and values is not None and image.shape[:2] != values.shape:
            (height, width), (mask_height, mask_width) = image.shape[:2], values.shape
            problems.append(
                f"{where}: image {triplet.image.name} is {width}x{height} but its mask is "
                f"{mask_width}x{mask_height}; they must be equal"
            )
    problems.extend(census.problems())


def _read(
    read: Callable[[pathlib.Path], np.ndarray],
    file: pathlib.Path,
    where: str,
    problems: list[str],
) -> np.ndarray | None:
    try:
        return read(file)
    except images.PixelError as error:
        problems.append(f"{where}: {file.parent.name}/{file.name} {error}")
        return None
