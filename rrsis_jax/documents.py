"""JSON documents on disk, or one sentence about what is wrong with them."""

import json
import pathlib
from typing import Any


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
      ValueError: if it cannot be read or holds something else; the message names the file.
    """
    if not path.is_file():  # a device or pipe would be read without end
        raise ValueError(f"{path} is no file.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable JSON file: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a JSON {type(found).__name__}, expected an object.")
    return found
