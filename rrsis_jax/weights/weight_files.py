"""Which file of a folder holds its weights: one rule for folders on disk and on the hub."""

import pathlib
from collections.abc import Iterable, Sequence

from rrsis_jax import errors, hub_address, io
from rrsis_jax.weights import variables_file

SAFETENSORS_SUFFIXES = (".safetensors",)
TORCH_SUFFIXES = (".pth", ".pt", ".bin")
_INDEX = ".index.json"  # beside weights that lie in several files
# From the first to be taken to the last: what is never unpickled comes before what is.
_KNOWN = (
    variables_file.NAME,
    "model.safetensors",
    f"model.safetensors{_INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{_INDEX}",
)


def choose(names: Iterable[str], place: object, folders: Sequence[str] = ()) -> str:
    """Returns the name of a folder's weights.

    Args:
      names: of the files in it.
      place: the folder, for the message.
      folders: in it, for the message.

    Returns:
      Variables that this project wrote, else what `save_pretrained` wrote (an index if in
      several files), else the only file of weights; safetensors where PyTorch's are there as well.

    Raises:
      ValueError: if there is none, or the choice is not clear.
    """
    there = sorted(names)
    for known in _KNOWN:
        if known in there:
            return known
    for suffixes in (SAFETENSORS_SUFFIXES, TORCH_SUFFIXES):
        fitting = [name for name in there if name.endswith(suffixes)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ValueError(
                f"{place} holds several files of weights, {errors.listing(fitting)}: name the one "
                "that is meant."
            )
    inside = f"; there is {errors.listing([f'{name}/' for name in folders])}" if folders else ""
    raise ValueError(
        f"{place} holds no weights: expected {_KNOWN[1]}, {_KNOWN[3]}, or one file that ends with "
        f"{', '.join((*SAFETENSORS_SUFFIXES, *TORCH_SUFFIXES))}{inside}. Name the file or folder "
        "that is meant."
    )


def in_folder(path: pathlib.Path | str) -> pathlib.Path:
    """Returns the file with weights: `path` itself, or the one in that folder, see `choose`.

    Raises:
      ValueError: if the folder has none, or several.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        return path
    inside = list(path.iterdir())
    files = [one.name for one in inside if one.is_file()]
    return path / choose(files, path, sorted(one.name for one in inside if one.is_dir()))


def is_index(path: pathlib.Path) -> bool:
    """Tells whether a file names those that weights are spread over."""
    return path.name.endswith(_INDEX)


def parts(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files that hold the weights: `path`, or those beside an index that it names.

    Raises:
      ValueError: if the index cannot be read, names none, or one that does not lie beside it.
    """
    if not is_index(path):
        return [path]
    known = io.read_json(path).get("weight_map")
    names = sorted(set(known.values())) if known and _maps_text(known) else []
    known_suffixes = (*SAFETENSORS_SUFFIXES, *TORCH_SUFFIXES)
    strange = [
        name
        for name in names
        if "/" in name or not hub_address.stays_inside(name) or not name.endswith(known_suffixes)
    ]
    if strange or not names:
        raise ValueError(
            f"{path} is no index of weights: its weight_map must name files beside it that end "
            f"with {', '.join(known_suffixes)}, and names {(strange or ['none'])[0]!r:.80}."
        )
    return [path.with_name(name) for name in names]


def _maps_text(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())
