import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.lavt.backbone import Backbone, LavtStage


def test_recomputed_blocks_give_the_same_gradients():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 8))
    text = jax.random.normal(jax.random.key(1), (2, 4, 6))
    mask = jnp.ones((2, 4))

    def gradient(remat):
        stage = LavtStage(num_heads=2, window=3, drop_path=(0.0, 0.5), merge=True, remat=remat)
        variables = stage.init(jax.random.key(2), x, text, mask, train=False)

        def loss(variables):
            rngs = {"dropout": jax.random.key(3)}
            fused, trunk = stage.apply(variables, x, text, mask, train=True, rngs=rngs)
            return jnp.sum(fused**2) + jnp.sum(trunk**2)

        return jax.jit(jax.grad(loss))(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradient(False),
        gradient(True),
    )


def test_scanned_blocks_compute_what_blocks_one_after_the_other_do():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 8))
    text = jax.random.normal(jax.random.key(1), (2, 4, 6))
    mask = jnp.ones((2, 4))

    def stage(scan):
        return LavtStage(num_heads=2, window=3, drop_path=(0.0,) * 4, merge=False, scan=scan)

    init = jax.jit(stage(scan=True).init, static_argnames="train")
    variables = init(jax.random.key(2), x, text, mask, train=False)
    assert {f"blocks_{i}" for i in range(4)} < variables["params"].keys()

    def gradient(scan):
        def loss(variables):
            fused, trunk = stage(scan).apply(variables, x, text, mask, train=True)
            return jnp.sum(fused**2) + jnp.sum(trunk**2)

        return jax.jit(jax.value_and_grad(loss))(variables)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        gradient(scan=True),
        gradient(scan=False),
    )


def test_scanned_blocks_drop_their_own_share_of_samples():
    # The last pair is (almost) always dropped, the first never: what is left is the first pair.
    x = jax.random.normal(jax.random.key(0), (64, 3, 3, 4))
    text, mask = jnp.ones((64, 3, 6)), jnp.ones((64, 3))

    def stage(rates):
        return LavtStage(num_heads=1, window=3, drop_path=rates, merge=False, scan=True)

    rare = stage((0.0, 0.0, 0.999999, 0.999999))
    variables = jax.jit(rare.init, static_argnames="train")(
        jax.random.key(2), x, text, mask, train=False
    )
    _, trunk = jax.jit(functools.partial(rare.apply, train=True))(
        variables, x, text, mask, rngs={"dropout": jax.random.key(3)}
    )
    # Gate and fusion are the same in both, so equal trunks mean equal blocks.
    _, first = jax.jit(functools.partial(stage((0.0, 0.0)).apply, train=True))(
        variables, x, text, mask
    )
    np.testing.assert_allclose(trunk, first, atol=1e-5)


def test_rates_of_drop_path_grow_linearly_over_all_blocks():
    backbone = Backbone(
        embed_dim=4, depths=(2, 1, 3, 1), num_heads=(1, 1, 1, 1), window=2, drop_path_rate=0.3
    )
    rates = []

    def record(next_method, arguments, keywords, context):
        rate = getattr(context.module, "drop_path", None)
        if isinstance(rate, float):
            rates.append(rate)
        return next_method(*arguments, **keywords)

    with nn.intercept_methods(record):
        jax.eval_shape(
            lambda key: backbone.init(
                key, jnp.ones((1, 16, 16, 3)), jnp.ones((1, 3, 5)), jnp.ones((1, 3)), train=False
            ),
            jax.random.key(0),
        )
    np.testing.assert_allclose(sorted(set(rates)), np.linspace(0.0, 0.3, 7))
