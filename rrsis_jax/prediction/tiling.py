"""Overlapping tiles of a fixed size, and their smooth blending.

Along each axis a tile is weighted by a raised cosine, and the weights of all tiles over one
position are divided by their sum. So blended values are averages with shares that add up to
one, a tile's share fades to nearly nothing towards its border, and no edge of a tile shows.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Axis:
    """The tiles along one axis of a scene.

    Attributes:
      size: pixels of the scene along the axis.
      starts: int64 (n,), first pixel of each tile, ascending; the first is 0.
      shares: float32 (n, tile), what each tile contributes to the pixels it covers. Over every
        pixel of the scene the contributions add up to one.
    """

    size: int
    starts: np.ndarray
    shares: np.ndarray

    @property
    def tile(self) -> int:
        """Pixels of one tile."""
        return self.shares.shape[1]

    @property
    def padded_size(self) -> int:
        """Pixels that the tiles cover: `size`, or one tile where the scene is smaller."""
        return max(self.size, self.tile)

    def finished(self, index: int) -> tuple[int, int]:
        """Returns the pixels [start, stop) of the scene that no tile after `index` covers."""
        last = index == len(self.starts) - 1
        return int(self.starts[index]), self.size if last else int(self.starts[index + 1])


def make_axis(size: int, tile: int, overlap: float) -> Axis:
    """Spreads tiles evenly over an axis.

    Args:
      size: pixels of the scene, at least 1.
      tile: pixels of a tile.
      overlap: least overlap of neighbouring tiles, as a fraction of a tile in [0, 0.9].

    Raises:
      ValueError: if the overlap is out of range.
    """
    if not 0.0 <= overlap <= 0.9:
        raise ValueError(f"The overlap is {overlap}; give a fraction of a tile from 0 to 0.9.")
    stride = max(1, tile - round(overlap * tile))
    count = 1 + math.ceil(max(0, size - tile) / stride)
    starts = np.rint(np.linspace(0, max(0, size - tile), count)).astype(np.int64)
    window = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2
    total = np.zeros(max(size, tile))
    for start in starts:
        total[start : start + tile] += window
    shares = np.stack([window / total[start : start + tile] for start in starts])
    return Axis(size, starts, shares.astype(np.float32))


class Blender:
    """Blends tiles that arrive row of tiles by row of tiles.

    It holds only the rows of pixels under the current row of tiles, so memory does not grow with
    the height of the scene.
    """

    def __init__(self, rows: Axis, columns: Axis, layers: int):
        """Starts with nothing blended.

        Args:
          rows: the tiles along the height.
          columns: the tiles along the width.
          layers: how many maps are blended side by side, one for each expression.
        """
        self._rows, self._columns = rows, columns
        # float32 (layers, tile, padded width): the sums under the current row of tiles.
        self.sums = np.zeros((layers, rows.tile, columns.padded_size), np.float32)

    def add(self, layer: int, row: int, column: int, values: np.ndarray) -> None:
        """Adds the float32 (tile, tile) values of one tile to a layer."""
        start = self._columns.starts[column]
        share = self._rows.shares[row][:, None] * self._columns.shares[column][None, :]
        self.sums[layer, :, start : start + self._columns.tile] += share * values

    def finish_row(self, row: int) -> np.ndarray:
        """Returns the pixels that are complete after a row of tiles, and makes room for the next.

        Returns:
          float32 (layers, height, width), where `rows.finished(row)` names the height.
        """
        start, stop = self._rows.finished(row)
        height = stop - start
        done = self.sums[:, :height, : self._columns.size].copy()
        carried = self.sums.shape[1] - min(height, self.sums.shape[1])
        self.sums[:, :carried] = self.sums[:, self.sums.shape[1] - carried :].copy()
        self.sums[:, carried:] = 0.0
        return done


def cut(image: np.ndarray, row: int, column: int, tile: int) -> np.ndarray:
    """Cuts (tile, tile, …) out of an image (H, W, …), mirrored beyond its bottom and right."""
    piece = image[row : row + tile, column : column + tile]
    missing = [(0, tile - length) for length in piece.shape[:2]]
    if any(after for _, after in missing):
        piece = np.pad(piece, missing + [(0, 0)] * (image.ndim - 2), mode="symmetric")
    return piece
