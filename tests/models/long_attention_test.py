"""Attention in turns is attention at once; on a CPU long inputs of predictions take turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.backbones.sam.network import RelativeAttention
from rrsis_jax.models.layers import long_attention
from rrsis_jax.models.layers.transformer import attend

SIDE, HEADS, WIDTH = 32, 2, 4  # 1,024 places


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shape = (2, SIDE * SIDE, HEADS, WIDTH)
    return [jnp.asarray(rng.standard_normal(shape, np.float32)) for _ in range(3)]


def loops(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count("scan[")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_turns_change_nothing(dtype):
    """By SAM's attention, whose biases are cut along with the queries."""
    layer = RelativeAttention(HEADS, dtype=dtype)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((2, SIDE, SIDE, HEADS * WIDTH), np.float32))
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)),
        jax.eval_shape(lambda: layer.init(jax.random.key(0), x, False)),
    )
    in_turns, at_once = (
        jax.jit(layer.apply, static_argnums=2)(variables, x, train) for train in (False, True)
    )
    assert in_turns.dtype == at_once.dtype == dtype
    largest = float(jnp.abs(at_once).max())
    tolerance = largest * (1e-5 if dtype == jnp.float32 else 2e-2)
    np.testing.assert_allclose(
        in_turns.astype(jnp.float32), at_once.astype(jnp.float32), atol=tolerance
    )
    other = layer.apply(
        {"params": {**variables["params"], "rel_pos_h": jnp.zeros((63, WIDTH))}}, x, False
    )
    assert jnp.abs(other - in_turns).max() > 10 * tolerance  # the biases count


def test_a_mask_hides_keys_in_turns_too(arrays):
    query, key, value = (x.reshape(*x.shape[:2], -1) for x in arrays)
    mask = jnp.arange(SIDE * SIDE)[None] < jnp.array([[700], [1000]])
    in_turns, at_once = (
        jax.jit(attend, static_argnums=(3, 5))(query, key, value, HEADS, mask, train)
        for train in (False, True)
    )
    np.testing.assert_allclose(in_turns, at_once, atol=1e-6)
    other = attend(query, key, value.at[:, 1000:].set(9.0), HEADS, mask)
    np.testing.assert_allclose(other, in_turns, atol=1e-6)


def test_short_inputs_and_training_are_computed_at_once(arrays):
    query, key, value = arrays
    assert loops(long_attention.attend_heads, query, key, value) == 2
    for chosen in ((query[:, :1000], key, value), (query, key[:, :9], value[:, :9])):
        assert loops(long_attention.attend_heads, *chosen) == 0
    assert loops(lambda *x: long_attention.attend_heads(*x, train=True), *arrays) == 0
