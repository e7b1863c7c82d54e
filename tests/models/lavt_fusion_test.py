import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.lavt.fusion import LanguageGate, PixelWordAttention


@pytest.fixture
def arguments():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 3, 4, 8))
    text = jax.random.normal(keys[1], (2, 5, 6))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    return x, text, mask


@pytest.mark.parametrize("num_heads", [1, 4])
def test_padded_words_have_no_say(arguments, num_heads):
    x, text, mask = arguments
    module = PixelWordAttention(num_heads)
    variables = module.init(jax.random.key(1), x, text, mask, train=False)
    changed = text.at[0, 3:].set(100.0)
    np.testing.assert_allclose(
        module.apply(variables, x, changed, mask, train=False),
        module.apply(variables, x, text, mask, train=False),
        atol=1e-6,
    )


def test_what_all_words_share_has_no_say(arguments):
    x, text, _ = arguments
    mask = jnp.ones((2, 5), jnp.int32)
    module = PixelWordAttention()
    variables = module.init(jax.random.key(1), x, text, mask, train=False)
    np.testing.assert_allclose(
        module.apply(variables, x, text + 3.0, mask, train=False),
        module.apply(variables, x, text, mask, train=False),
        atol=1e-3,
    )


def test_a_phrase_without_words_gives_finite_features(arguments):
    x, text, mask = arguments
    module = PixelWordAttention()
    variables = module.init(jax.random.key(1), x, text, mask, train=False)
    assert jnp.isfinite(module.apply(variables, x, text, jnp.zeros_like(mask), train=False)).all()


def test_dropout_acts_in_training_only(arguments):
    module = PixelWordAttention(dropout=0.5)
    variables = module.init(jax.random.key(1), *arguments, train=False)
    still = module.apply(variables, *arguments, train=False)
    rngs = {"dropout": jax.random.key(2)}
    moved = module.apply(variables, *arguments, train=True, rngs=rngs)
    assert not np.allclose(still, moved)


def test_the_gate_starts_nearly_shut_and_learns(arguments):
    fused, _, _ = arguments
    gate = LanguageGate()
    variables = gate.init(jax.random.key(0), fused)
    assert 0.0 < jnp.abs(gate.apply(variables, fused)).mean() < 0.01
    gradient = jax.grad(lambda v: jnp.sum(gate.apply(v, fused) * fused))(variables)
    assert all(bool(leaf.any()) for leaf in jax.tree.leaves(gradient))
