"""What must travel to a machine that has only jax, flax, optax and numpy."""

import importlib.metadata
import pathlib
import re
import zlib

TRAVELLING = ("ml-collections", "transformers")  # what a bare machine lacks, with their needs
BARE = ("jax", "flax", "optax", "numpy")


def travelling_wheels() -> dict[str, float]:
    """Returns what must travel to a bare machine: `name==version`, as installed here, to its MB.

    The size is of the installed files as a wheel packs them, without what Python compiled of them.
    """
    sizes = {}
    for name in sorted(_closure(TRAVELLING) - _closure(BARE)):
        found = importlib.metadata.distribution(name)
        files = [path for path in found.files or () if "__pycache__" not in path.parts]
        packed = (
            len(zlib.compress(pathlib.Path(str(found.locate_file(path))).read_bytes(), 1))
            for path in files
        )
        sizes[f"{name}=={found.version}"] = sum(packed) / 1e6
    return sizes


def _closure(names: tuple[str, ...]) -> set[str]:
    """Returns distributions with all that they require, extras left out."""
    closure, pending = set(), list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on another system only
        if name not in closure:
            closure.add(name)
            pending += [re.split(r"[^\w.\-]", n)[0] for n in needs if "extra ==" not in n]
    return closure
