"""Mirrorings and turns move pixels and directions alike."""

import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.data import geometry

GRID = np.arange(6).reshape(2, 3)


def test_a_turn_is_counter_clockwise():
    np.testing.assert_array_equal(geometry.Geometry(False, 1).apply(GRID), [[2, 5], [1, 4], [0, 3]])


def test_the_mirror_comes_first():
    np.testing.assert_array_equal(geometry.Geometry(True, 1).apply(GRID), [[0, 3], [1, 4], [2, 5]])


@pytest.mark.parametrize("chosen", geometry.ALL)
def test_a_geometry_agrees_with_numpy_on_any_axes(chosen):
    batch = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3)
    mirrored = batch[:, :, ::-1] if chosen.mirrored else batch
    expected = np.rot90(mirrored, chosen.turns, axes=(1, 2))
    np.testing.assert_array_equal(chosen.apply(batch, rows=1), expected)
    np.testing.assert_array_equal(chosen.apply(jnp.asarray(batch), rows=1), expected)


@pytest.mark.parametrize("chosen", geometry.ALL)
def test_the_inverse_undoes(chosen):
    np.testing.assert_array_equal(chosen.inverse().apply(chosen.apply(GRID)), GRID)
    assert chosen.inverse().direct(chosen.direct((1, 0))) == (1, 0)


@pytest.mark.parametrize("chosen", geometry.ALL)
@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1)])
def test_a_direction_points_where_the_pixels_go(chosen, direction):
    right, up = direction
    tile = np.zeros((3, 3), int)
    tile[1 - up, 1 + right] = 1
    row, column = np.argwhere(chosen.apply(tile))[0]
    assert chosen.direct(direction) == (column - 1, 1 - row)


def test_the_eight_are_different():
    tile = np.arange(9).reshape(3, 3)
    assert len({chosen.apply(tile).tobytes() for chosen in geometry.ALL}) == 8
    assert set(geometry.FLIPS) < set(geometry.ALL)
