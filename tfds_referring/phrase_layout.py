"""The layout of RefSegRS and RISBench as samples: phrase files, a folder of images, one of masks.

```
images/<id>.tif          (or img_rgb/)
masks/<id>.tif           (or mask/)
output_phrase_train.txt  lines `<id> <phrase>` or `<file name> <phrase>`
output_phrase_val.txt
output_phrase_test.txt
```
"""

import functools
import pathlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfds_referring import images, phrase_files
from tfds_referring.class_names import ClassNames
from tfds_referring.samples import Sample, shown


def samples(
    folder: pathlib.Path,
    problems: list[str],
    *,
    class_names: ClassNames,
    scene_of: Callable[[str], str],
) -> list[Sample]:
    """Returns the samples of a folder.

    Args:
      folder: holds the phrase files, or a folder that does.
      problems: gets a sentence for everything that is wrong with them.
      class_names: the classes of `category`, recognised in the phrases.
      scene_of: an id → its scene.

    Returns:
      In the order of the lines. Ids are file names without suffix. A mask's pixels above 0 are the
      target, be they 1 or 255.
    """
    root = phrase_files.find_root(folder)
    images = _index(root, phrase_files.IMAGE_FOLDERS, problems)
    masks = _index(root, phrase_files.MASK_FOLDERS, problems)
    result = []
    for split, name in phrase_files.PHRASE_FILES.items():
        for number, line in enumerate(_lines(root / name, problems), 1):
            where = f"{name}:{number}"
            named, _, phrase = line.strip().partition(" ")
            if not named:
                continue
            if any(sign in named for sign in "/\\:") or named in (".", ".."):
                problems.append(
                    f"{where}: id {shown(named)} leaves the folder; use a plain file name"
                )
                continue
            suffix = pathlib.PurePath(named).suffix
            image_id = named.removesuffix(suffix if suffix.lower() in phrase_files.SUFFIXES else "")
            mask = _file(where, named, masks, root / phrase_files.MASK_FOLDERS[0], problems)
            phrase = " ".join(phrase.split())
            result.append(
                Sample(
                    where=where,
                    split=split,
                    image_id=image_id,
                    phrase=phrase,
                    image=_file(
                        where, named, images, root / phrase_files.IMAGE_FOLDERS[0], problems
                    ),
                    mask=functools.partial(read_mask, mask),
                    category=class_names.mentioned(phrase),
                    scene=scene_of(image_id),
                    mask_file=mask,
                )
            )
    return result


def read_mask(file: pathlib.Path) -> np.ndarray:
    """Returns the pixels of a mask above 0, bool (height, width), be they 1 or 255.

    Raises:
      PixelError: the file cannot be decoded, or is not grey.
    """
    return images.read_values(file) > 0


def _lines(file: pathlib.Path, problems: list[str]) -> list[str]:
    if not file.is_file():
        here = ", ".join(sorted(path.name for path in file.parent.iterdir())[:20]) or "nothing"
        problems.append(f"{file.name}: missing; the folder has {here}")
        return []
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        problems.append(f"{file.name}:{number}: not UTF-8 ({error.reason}); save it as UTF-8")
        return []
    return text.split("\n")


def _index(
    root: pathlib.Path, names: Sequence[str], problems: list[str]
) -> dict[str, list[pathlib.Path]]:
    """Returns the files of the first folder that exists, by their names with and without suffix."""
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        problems.append(f"no folder {' or '.join(f'{name}/' for name in names)}")
        return {}
    index = defaultdict(list)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in phrase_files.SUFFIXES:
            index[file.name].append(file)
            index[file.stem].append(file)
    return dict(index)


def _file(
    where: str,
    named: str,
    index: Mapping[str, list[pathlib.Path]],
    folder: pathlib.Path,
    problems: list[str],
) -> pathlib.Path:
    """Returns the file that a line names; one that does not exist if there is none."""
    candidates = index.get(named, [])
    if len(candidates) > 1:
        several = ", ".join(file.name for file in candidates)
        problems.append(f"{where}: several files for one id: {several}; keep one")
    if candidates:
        return candidates[0]
    return next(iter(index.values()), [folder / named])[0].with_name(named)
