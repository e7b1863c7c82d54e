"""How far an interrupted job came, on disk: work is never done twice.

One file holds the count of finished tiles, the rows already written and the sums of the row of
tiles at hand. It is replaced as a whole, so a job killed at any moment finds a consistent one.
"""

import dataclasses
import pathlib

import numpy as np

from rrsis_jax import io


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


class DamagedError(ValueError):
    """What is on disk of a job does not suffice to go on."""


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
          DamagedError: if it is damaged.
        """
        if not self._path.exists():
            return None
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                digest, sums = str(arrays["digest"]), arrays["sums"]
                position = Position(arrays["tiles"].item(), arrays["rows"].item(), sums)
        except Exception as error:  # zipfile, zlib and NumPy each raise their own kinds
            raise self.damaged(f"{type(error).__name__}: {error}") from error
        if digest != self._digest:
            raise ValueError(
                f"{self._path.parent.parent} holds an interrupted job of another image, model "
                "or setting. Repeat that job's command, choose another --output, or start "
                "anew with --overwrite."
            )
        counts = (position.tiles, position.rows)
        if any(type(count) is not int or count < 0 for count in counts):
            raise self.damaged(f"it counts {counts[0]!r:.40} tiles and {counts[1]!r:.40} rows")
        if sums.ndim != 3 or sums.dtype != np.float32:
            raise self.damaged(f"its sums are {sums.dtype} {sums.shape}")
        return position

    def damaged(self, reason: str) -> DamagedError:
        """Returns the error of a job that cannot go on where it stopped."""
        return DamagedError(
            f"The interrupted job in {self._path.parent.parent} is damaged: {reason}. Start anew "
            "with --overwrite, or choose another --output."
        )

    def save(self, position: Position) -> None:
        """Writes where the job stands."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with io.replacing(self._path) as partial:
            np.savez(partial, digest=np.str_(self._digest), **vars(position))
