"""The eight ways to lay a square tile on the table: mirrored or not, turned by right angles."""

import dataclasses
from typing import TypeVar

import jax
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)
Vector = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A symmetry of the square: mirror left and right first, then turn.

    Attributes:
      mirrored: whether left and right change places.
      turns: quarter turns counter-clockwise after that, 0 to 3.
    """

    mirrored: bool = False
    turns: int = 0

    def apply(self, array: Array, rows: int = 0) -> Array:
        """Moves the pixels of an array.

        Args:
          array: numpy or JAX array; axes `rows` and `rows + 1` are rows and columns.
          rows: the axis of the rows.

        Returns:
          The moved array; odd turns exchange its sides.
        """
        keep = (slice(None),) * rows
        if self.mirrored:
            array = array[(*keep, slice(None), slice(None, None, -1))]
        if self.turns == 2:
            return array[(*keep, slice(None, None, -1), slice(None, None, -1))]
        if self.turns == 1:
            return array[(*keep, slice(None), slice(None, None, -1))].swapaxes(rows, rows + 1)
        if self.turns == 3:
            return array[(*keep, slice(None, None, -1))].swapaxes(rows, rows + 1)
        return array

    def direct(self, vector: Vector) -> Vector:
        """Returns where a direction (to the right, upwards) points afterwards."""
        right, up = vector
        if self.mirrored:
            right = -right
        for _ in range(self.turns):
            right, up = -up, right
        return right, up

    def inverse(self) -> "Geometry":
        """Returns the geometry that undoes this one."""
        return self if self.mirrored else Geometry(False, -self.turns % 4)


IDENTITY = Geometry()
FLIPS = (IDENTITY, Geometry(True, 0), Geometry(True, 2), Geometry(False, 2))
ALL = tuple(Geometry(mirrored, turns) for mirrored in (False, True) for turns in range(4))
