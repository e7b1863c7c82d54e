import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.lgce.decoder import CrossScaleBlock, LgceDecoder


@pytest.fixture(scope="module")
def arguments():
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = [(2, 9, 12, 8), (2, 5, 6, 16), (2, 3, 3, 32), (2, 2, 2, 64)]
    features = tuple(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=False))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    return features, jax.random.normal(keys[4], (2, 5, 6)), mask


@pytest.mark.parametrize("decoder", [LavtDecoder, LgceDecoder])
def test_logits_have_the_size_of_the_finest_map(arguments, decoder):
    module = decoder(hidden=8, dtype=jnp.bfloat16)
    logits, _ = jax.eval_shape(
        functools.partial(module.init_with_output, train=False), jax.random.key(1), *arguments
    )
    assert logits.shape == (2, 9, 12, 2)
    assert logits.dtype == jnp.float32


def test_only_lgce_listens_to_the_words(arguments):
    features, text, mask = arguments
    for decoder, listens in ((LavtDecoder, False), (LgceDecoder, True)):
        module = decoder(hidden=8)
        variables = module.init(jax.random.key(1), features, text, mask, train=False)
        here = module.apply(variables, features, text, mask, train=False)
        there = module.apply(variables, features, -text, mask, train=False)
        assert (np.abs(here - there).max() > 1e-6) == listens


def test_what_the_guides_bring_back_reaches_no_logit(arguments):
    features, text, mask = arguments
    module = LgceDecoder(hidden=8)
    variables = module.init(jax.random.key(1), features, text, mask, train=False)
    gradient = jax.grad(
        lambda params: jnp.sum(
            module.apply({**variables, "params": params}, features, text, mask, train=False) ** 2
        )
    )(variables["params"])
    flat = flax.traverse_util.flatten_dict(gradient["cross_scale"], sep="/")
    for path, leaf in flat.items():
        unused = path.startswith(("fine_to_coarse", "coarse_to_fine"))
        assert bool((leaf == 0.0).all()) == unused, path


def test_cross_scale_block_returns_exchanged_guides():
    fine, coarse = jnp.ones((1, 5, 8)), jnp.ones((1, 3, 16))
    block = CrossScaleBlock(num_heads=(2, 4))
    (new_fine, new_coarse), variables = block.init_with_output(jax.random.key(0), fine, coarse)
    assert new_fine.shape == fine.shape
    assert new_coarse.shape == coarse.shape
    moved = block.apply(variables, fine, coarse.at[:, 1:].add(jnp.arange(16.0)))
    assert not np.allclose(moved[0][:, 0], new_fine[:, 0])  # the guide saw the other scale
    np.testing.assert_allclose(moved[0][:, 1:], new_fine[:, 1:])


def test_a_live_guide_starts_as_the_papers_and_then_reaches_the_logits(arguments):
    paper, live = LgceDecoder(hidden=8), LgceDecoder(hidden=8, live_guide=True)
    variables = paper.init(jax.random.key(1), *arguments, train=False)
    fresh = live.init(jax.random.key(1), *arguments, train=False)
    modulations = {
        name: tree
        for name, tree in fresh["params"]["cross_scale"].items()
        if name.startswith("modulate")
    }
    variables["params"]["cross_scale"] |= modulations
    expected = paper.apply(variables, *arguments, train=False)
    np.testing.assert_array_equal(live.apply(variables, *arguments, train=False), expected)

    moved = jax.tree.map(lambda x: x + 0.1, modulations)
    variables["params"]["cross_scale"] |= moved
    gradient = jax.grad(
        lambda params: jnp.sum(
            live.apply({**variables, "params": params}, *arguments, train=False) ** 2
        )
    )(variables["params"])
    for path, leaf in flax.traverse_util.flatten_dict(gradient["cross_scale"], sep="/").items():
        assert bool((leaf != 0.0).any()), path


def test_a_guide_over_words_does_not_see_padding(arguments):
    features, text, mask = arguments
    padding = text + 5.0 * (1 - mask)[:, :, None]
    for over_words in (False, True):
        module = LgceDecoder(hidden=8, guide_over_words=over_words)
        variables = module.init(jax.random.key(1), *arguments, train=False)
        here = module.apply(variables, *arguments, train=False)
        there = module.apply(variables, features, padding, mask, train=False)
        assert np.allclose(here, there) == over_words
