"""The file of a folder's variables; apart from its reader, which takes seconds to import."""

import pathlib

NAME = "variables.safetensors"


def path(folder: pathlib.Path | str) -> pathlib.Path:
    """Returns the file of a folder's variables."""
    return pathlib.Path(folder) / NAME


def missing(folder: pathlib.Path | str) -> str:
    """Returns what to say where that file is missing."""
    return f"{path(folder)} does not exist. Make it with `rrsis-weights import`."
