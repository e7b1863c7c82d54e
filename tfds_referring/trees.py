"""Finding files in the trees that people unpack datasets into, and a tree's fingerprint.

Archives add a folder, repositories put text beside the images or above them, and names differ in
case. So a tree is searched, not spelled out; where two answers fit, the user decides.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

DEPTH = 4
"""How many folders below the root are searched."""

_TEXT = (".p", ".pkl", ".pickle", ".json", ".txt")
_MASK_FOLDERS = ("annotations", "annotation", "masks", "mask", "labels")


def folders(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields `root` and the folders below it, at most `DEPTH` deep, in order of their names."""
    for place, names, _ in os.walk(root):
        names.sort()
        path = pathlib.Path(place)
        yield path
        if len(path.relative_to(root).parts) >= DEPTH:
            names.clear()


def files(root: pathlib.Path, fits: Callable[[str], bool]) -> list[pathlib.Path]:
    """Returns the files of a tree whose names fit, in order."""
    return [
        file
        for folder in folders(root)
        for file in sorted(folder.iterdir())
        if fits(file.name) and file.is_file()
    ]


def choose(
    candidates: Sequence[pathlib.Path],
    root: pathlib.Path,
    what: str,
    problems: list[str],
    prefer: Iterable[str] = (),
) -> pathlib.Path | None:
    """Returns the only candidate, or the only one under a preferred folder; else reports.

    Args:
      candidates: what fits.
      root: of the search.
      what: is searched, for the message.
      problems: gets a sentence if there is none, or more than one.
      prefer: names of folders that decide between several.
    """
    preferred = set(prefer)
    inner = [path for path in candidates if preferred & set(path.relative_to(root).parts)]
    for choice in (candidates, inner):
        if len(choice) == 1:
            return choice[0]
    if candidates:
        listed = ", ".join(path.relative_to(root).as_posix() or "." for path in candidates[:5])
        problems.append(f"several {what}: {listed}; give the folder of one of them")
    else:
        here = ", ".join(sorted(path.name for path in root.iterdir())[:20]) or "nothing"
        problems.append(f"no {what} in the folder or up to {DEPTH} below; it has {here}")
    return None


def image_folder(
    root: pathlib.Path, names: Sequence[str], problems: list[str], prefer: Iterable[str] = ()
) -> pathlib.Path | None:
    """Returns the folder that images of these names lie in; folders of masks do not count.

    Args:
      root: of the search.
      names: the images' file names; the first that lies anywhere decides.
      problems: gets a sentence if no folder, or more than one, has it.
      prefer: names of folders that decide between several.
    """
    places = [path for path in folders(root) if path.name.lower() not in _MASK_FOLDERS]
    held = {place: set(os.listdir(place)) for place in places}
    for name in names:
        candidates = [place for place in places if name.partition("/")[0] in held[place]]
        candidates = [place for place in candidates if (place / name).is_file()]
        if candidates:
            return choose(candidates, root, f"folders with the image {name}", problems, prefer)
    problems.append(
        f"none of the {len(names)} images, such as {names[0] if names else 'none'}, lies in the "
        f"folder or up to {DEPTH} below"
    )
    return None


def fingerprint(root: pathlib.Path) -> str:
    """Identifies a tree's content without decoding it.

    Args:
      root: of the tree.

    Returns:
      12 hexadecimal digits over the text files' bytes, and the place, size and
      modification time of every other file.
    """
    digest = hashlib.sha256()
    for file in files(root, lambda name: not name.startswith(".")):
        place = file.relative_to(root).as_posix()
        if file.suffix.lower() in _TEXT:
            entry = f"{place}\0{_digest(file)}\0"
        else:
            stat = file.stat()
            entry = f"{place}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def _digest(file: pathlib.Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
