import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rrsis_jax.models.layers import transformer


def test_windows_are_cut_row_by_row_and_put_together_again():
    x = jnp.arange(2 * 5 * 3, dtype=jnp.float32).reshape(2, 5, 3, 1)
    windows = transformer.to_windows(x, 2)
    assert windows.shape == (2 * 3 * 2, 2, 2, 1)
    np.testing.assert_array_equal(windows[0, ..., 0], [[0, 1], [3, 4]])
    np.testing.assert_array_equal(windows[1, ..., 0], [[2, 0], [5, 0]])  # padded with zeros
    np.testing.assert_array_equal(transformer.from_windows(windows, 5, 3), x)


def test_masked_keys_are_not_seen():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 4, 6))
    mask = jnp.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    attended = transformer.attend(query, key, value, 2, mask)
    np.testing.assert_allclose(attended[1], jnp.broadcast_to(value[1, :1], (4, 6)), rtol=1e-6)
    cut = transformer.attend(query[:1], key[:1, :3], value[:1, :3], 2)
    np.testing.assert_allclose(attended[:1], cut, rtol=1e-5, atol=1e-6)


class Layer(nn.Module):
    """Dense, with noise and a shift."""

    shift: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(x.shape[-1])(x) + self.shift
        return nn.Dropout(0.5)(jnp.tanh(x), deterministic=not train)


class Stack(nn.Module):
    """Three equal layers and one that differs."""

    remat: bool = False
    scan: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        shifts = (0.0, 0.0, 0.0, 1.0)
        fields = [{"name": f"layers_{i}", "shift": shift} for i, shift in enumerate(shifts)]
        return transformer.run_layers(
            self, Layer, fields, x, train, remat=self.remat, scan=self.scan
        )


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("scan", [False, True])
def test_loops_and_recomputation_change_no_result(remat, scan):
    x = jax.random.normal(jax.random.key(0), (2, 3))
    variables = Stack().init(jax.random.key(1), x)
    stack = Stack(remat, scan)
    assert jax.tree.map(jnp.shape, stack.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, variables
    )

    def loss(stack, variables):
        return jnp.sum(stack.apply(variables, x) ** 2)

    plain, looped = (jax.grad(loss, argnums=1)(one, variables) for one in (Stack(), stack))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), plain, looped)


class Drop(nn.Module):
    """Drops half of the values."""

    @nn.compact
    def __call__(self, x, train):
        scale = self.param("scale", nn.initializers.ones, (1, 1))
        return nn.Dropout(0.5)(x * scale, deterministic=not train)


@pytest.mark.parametrize("scan", [False, True])
def test_every_layer_draws_its_own_noise(scan):
    class Drops(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            fields = [{"name": f"layers_{i}"} for i in range(3)]
            return transformer.run_layers(self, Drop, fields, x, train, scan=scan)

    x = jnp.ones((1, 4000))
    variables = Drops().init(jax.random.key(1), x)
    left = Drops().apply(variables, x, True, rngs={"dropout": jax.random.key(3)})
    assert abs(float(jnp.mean(left != 0)) - 1 / 8) < 0.03
    np.testing.assert_array_equal(Drops().apply(variables, x), x)
