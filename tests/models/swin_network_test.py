import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rrsis_jax.models.backbones.swin import network as swin


def test_relative_position_index_of_a_two_by_two_window():
    # rows of the table: (row distance + 1) * 3 + (column distance + 1)
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    np.testing.assert_array_equal(swin.relative_position_index(2), expected)


@pytest.mark.parametrize("window", [1, 4])
def test_position_biases_and_their_gradients_are_those_of_a_gather(window):
    table = jax.random.normal(jax.random.key(0), ((2 * window - 1) ** 2, 3))
    weights = jax.random.normal(jax.random.key(1), (3, window**2, window**2))

    def gathered(table):
        return table[swin.relative_position_index(window)].transpose(2, 0, 1)

    np.testing.assert_array_equal(swin.position_bias(table, window), gathered(table))
    found, expected = (
        jax.grad(lambda table, make=make: jnp.sum(weights * make(table)))(table)
        for make in (lambda table: swin.position_bias(table, window), gathered)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_shifted_regions_of_a_four_by_four_map():
    mask = swin.shifted_region_mask(4, 4, 2)
    assert mask.shape == (4, 4, 4)
    np.testing.assert_array_equal(mask[0], 0.0)  # the first window is of one region
    # The second window of the first row joins columns 2 and 3, which were far apart.
    np.testing.assert_array_equal(mask[1][0], [0, -100, 0, -100])
    np.testing.assert_array_equal(mask[3] == 0.0, np.eye(4, dtype=bool))


def test_a_single_window_still_has_two_regions_a_side():
    mask = swin.shifted_region_mask(3, 3, 3)
    assert len({tuple(row) for row in mask[0]}) == 4


def test_patch_merging_orders_neighbours_column_by_column():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)  # 0 1 / 2 3
    module = swin.PatchMerging()
    variables = module.init(jax.random.key(0), x)
    params = {
        "norm": {"scale": jnp.ones(4), "bias": jnp.zeros(4)},
        "reduction": {"kernel": jnp.eye(4)[:, :2]},
    }
    jax.tree.map(
        lambda a, b: np.testing.assert_equal(a.shape, b.shape), variables["params"], params
    )
    out = module.apply({"params": params}, x)
    normal = (np.array([0.0, 2.0]) - 1.5) / np.sqrt(1.25 + 1e-5)
    np.testing.assert_allclose(out.ravel(), normal, rtol=1e-5)


def test_odd_maps_are_padded_before_merging():
    x = jnp.ones((1, 3, 5, 2))
    out, _ = swin.PatchMerging().init_with_output(jax.random.key(0), x)
    assert out.shape == (1, 2, 3, 4)


def test_a_padded_map_is_projected_as_if_padding_were_there():
    module = nn.Dense(5, dot_general=functools.partial(swin.padded_product, multiple=4))
    x = jax.random.normal(jax.random.key(0), (2, 6, 3, 2))
    params = {"kernel": jax.random.normal(jax.random.key(1), (2, 5)), "bias": jnp.arange(5.0)}
    out = module.apply({"params": params}, x)
    padded = np.zeros((2, 8, 4, 2))
    padded[:, :6, :3] = x
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    np.testing.assert_allclose(out, padded @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_do_not_see_each_other(shifted):
    block = swin.SwinBlock(num_heads=2, window=3, shifted=shifted, drop_path=0.0)
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 8))
    variables = block.init(jax.random.key(1), x, train=False)
    changed = x.at[0, 0, 0].multiply(-1.0)
    difference = jnp.abs(block.apply(variables, changed, False) - block.apply(variables, x, False))
    seen = np.asarray(difference.max(-1)[0] > 1e-7)
    expected = np.zeros((6, 6), bool)
    if shifted:  # shifted by 1, the corner is cut off into a region of one position
        expected[:1, :1] = True
    else:
        expected[:3, :3] = True
    np.testing.assert_array_equal(seen, expected)
