"""How far an interrupted job came, on disk: work is never done twice.

One file holds the count of finished tiles, the rows already written and the sums of the row of
tiles at hand. It is replaced as a whole, so a job killed at any moment finds a consistent one.
"""

import dataclasses
import pathlib

import numpy as np

from rrsis_jax import outputs


@dataclasses.dataclass
class Position:
    """Where a job stands.

    Attributes:
      tiles: finished tiles.
      rows: finished rows of pixels in the work files.
      sums: float32 (layers, tile, width), see `tiling.Blender`.
    """

    tiles: int
    rows: int
    sums: np.ndarray


class Journal:
    """The journal of one job in a folder."""

    def __init__(self, folder: pathlib.Path, digest: str):
        """Opens or starts a journal.

        Args:
          folder: of the job's work files; created when first saved.
          digest: fingerprint of all that the result depends on.
        """
        self._path = folder / "journal.npz"
        self._digest = digest

    def read(self) -> Position | None:
        """Returns where the job stopped, or None if it has not begun.

        Raises:
          ValueError: if the folder holds the journal of another job.
        """
        if not self._path.is_file():
            return None
        with np.load(self._path, allow_pickle=False) as found:
            if str(found["digest"]) != self._digest:
                raise ValueError(
                    f"{self._path.parent.parent} holds an interrupted job of another image, model "
                    "or setting. Repeat that job's command, choose another --output, or start "
                    "anew with --overwrite."
                )
            return Position(int(found["tiles"]), int(found["rows"]), found["sums"])

    def save(self, position: Position) -> None:
        """Writes where the job stands."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with outputs.replacing(self._path) as partial:
            np.savez(partial, digest=np.str_(self._digest), **vars(position))
