"""What the training of every model answers; traced, because a compiled step takes half a minute.

`tests/stress/devices.py` compiles the steps and compares their numbers.
"""

import functools

import jax
import numpy as np
import optax
import pytest

from rrsis_jax.data import geometry, views
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import eval_step
from rrsis_jax.models import registry
from rrsis_jax.training import optim, train_state
from rrsis_jax.weights import checkpoints
from tests.conftest import PHRASES, random_variables
from tests.models.small_models import BATCH, make_batch, small_config
from tests.models.traced_types import RECOMPUTED, operations, primitives

DEVICES = 4


@functools.cache
def traced_training(name, remat=False):
    """Traces log-odds and next batch statistics of a training step's forward pass on devices."""
    config = small_config(name)
    if remat:
        config.model.remat = True
    model = registry.build(config)
    network, shapes = model.network(parallel.AXIS), model.shapes()
    batch = make_batch(model)

    def forward(variables, images, text, key):
        return network.apply(
            variables, images, text, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    arguments = (shapes, batch["images"], batch["text"], jax.random.key(0))
    return jax.make_jaxpr(forward, axis_env=[(parallel.AXIS, DEVICES)])(*arguments), shapes


@pytest.mark.parametrize("name", registry.names())
def test_every_batch_norm_asks_all_devices(name):
    """With sums for a loss, see `contract_test.py`, that makes a step independent of devices."""
    program, shapes = traced_training(name)
    count = len(jax.tree.leaves(shapes.get("batch_stats", {})))
    before, after = program.jaxpr.invars, program.jaxpr.outvars
    statistics = [x for x in after[len(after) - count :] if x not in before]  # others are frozen
    sums = [name for name in primitives(program.jaxpr) if name == "psum"]
    assert len(sums) == len(statistics)  # mean and variance of each


@pytest.mark.parametrize(
    "name", [n for n in registry.names() if "model.remat" in registry.rules(n)]
)
def test_recomputed_blocks_are_the_same_program(name):
    plain, _ = traced_training(name)
    recomputed, _ = traced_training(name, remat=True)
    assert RECOMPUTED not in primitives(plain.jaxpr)
    assert RECOMPUTED in primitives(recomputed.jaxpr)
    assert operations(recomputed.jaxpr) == operations(plain.jaxpr)


@pytest.mark.parametrize("name", registry.names())
def test_a_stopped_run_goes_on_from_its_state_to_the_bit(name, tmp_path):
    config = small_config(name)
    model = registry.build(config)
    optimizer = optim.build_optimizer(config.optim, optax.constant_schedule(1e-3), model)
    variables = random_variables(model)
    state = jax.eval_shape(
        lambda: train_state.create_state(variables, optimizer, model, jax.random.PRNGKey(0))
    )
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: (100 * rng.normal(size=x.shape)).astype(x.dtype), state)
    saved = checkpoints.Checkpoints(tmp_path)
    saved.keep_frozen(optim.split_frozen(state.params, model)[1])
    saved.save(1, state.without_frozen(model), {}, None)
    saved.wait()
    restored, _ = saved.restore_latest(jax.tree.map(np.zeros_like, state))
    saved.close()
    jax.tree.map(np.testing.assert_array_equal, restored, state)


@pytest.mark.parametrize("name", registry.names())
def test_views_of_an_image_are_averaged(name):
    """`evaluation/test_time_augmentation_test.py` holds the numbers."""
    model = registry.build(small_config(name))
    batch, tokenizer = make_batch(model), model.tokenizer("", PHRASES)
    turned = [views.tokenize_views("tree on the left", tokenizer, geometry.ALL)] * BATCH
    batch["views"] = jax.tree.map(lambda *one: np.stack(one), *turned)
    step = functools.partial(eval_step.eval_step, model=model, views=geometry.ALL)
    _, counted = jax.make_jaxpr(step, axis_env=[(parallel.AXIS, 1)], return_shape=True)(
        model.shapes(), batch
    )
    assert counted["log_odds"].shape == batch["target"].shape
    assert counted["index"].shape == (BATCH,)
