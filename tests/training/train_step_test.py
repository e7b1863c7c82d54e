"""One step: the same on every device count, exact accumulation, averaging, freezing, counting."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry
from rrsis_jax.models.layers import images
from rrsis_jax.training import optim, train_state, train_step
from tests.tiny_config import get_config as make_tiny_config

SIZE, TOKENS, BATCH = 16, 6, 4


class Pointwise(nn.Module):
    """A stand-in without batch statistics: logits from pixels and the mean token id."""

    @nn.compact
    def __call__(self, image, input_ids, attention_mask, train=False):
        self.variable("batch_stats", "unused", jnp.zeros, (1,))
        phrase = jnp.sum(input_ids * attention_mask, axis=1).reshape(-1, 1, 1, 1) / 100.0
        return nn.Dense(2, name="text_encoder")(image * phrase) + nn.Dense(2, name="decoder")(image)


def make_batches(count, batch=BATCH, size=SIZE):
    rng = np.random.default_rng(0)
    return [
        {
            "image": rng.integers(0, 256, (batch, size, size, 3), np.uint8),
            "mask": rng.integers(0, 2, (batch, size, size)).astype(np.uint8),
            "input_ids": rng.integers(1, 50, (batch, TOKENS)).astype(np.int32),
            "attention_mask": np.ones((batch, TOKENS), np.int32),
            "index": np.arange(batch, dtype=np.int32),
        }
        for _ in range(count)
    ]


def on_devices(tree, devices):
    return {key: x.reshape(devices, -1, *x.shape[1:]) for key, x in tree.items()}


def run(model, batches, devices, **options):
    """Returns the losses and the final state of a few steps on some devices."""
    optimizer = options.pop("optimizer", optax.adamw(1e-2))
    frozen = options.pop("frozen", lambda path: False)
    first = {key: jnp.asarray(x) for key, x in batches[0].items()}
    variables = jax.jit(model.init)(
        jax.random.PRNGKey(0),
        jnp.zeros((1, SIZE, SIZE, 3)),
        first["input_ids"][:1],
        first["attention_mask"][:1],
    )
    keep_ema = options.get("ema_decay", 0.0) > 0
    state = train_state.create_state(
        variables, optimizer, frozen, jax.random.PRNGKey(1), keep_ema=keep_ema
    )
    state = jax.tree.map(lambda x: jnp.stack([x] * devices), state)
    step = parallel.pmap(
        functools.partial(
            train_step.train_step,
            model=model,
            optimizer=optimizer,
            frozen=frozen,
            class_weights=(0.9, 1.1),
            **options,
        )
    )
    losses = []
    for batch in batches:
        state, scalars = step(state, on_devices(batch, devices))
        losses.append(float(scalars["loss"][0]))
        assert scalars["finite"][0] == np.isfinite(losses[-1])
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, np.stack([x[0]] * devices)), state)
    return losses, jax.tree.map(lambda x: np.asarray(x[0]), state)


@pytest.fixture(scope="module")
def lavt():
    config = make_tiny_config().model
    config.decoder = "lavt"
    config.text.dropout = 0.0
    config.text.max_tokens = TOKENS
    config.vision.drop_path_rate = 0.0
    return registry.build_model(config, axis_name=parallel.AXIS)


def test_the_same_losses_on_one_device_and_on_four(lavt):
    batches, optimizer = make_batches(10, size=32), optax.adamw(5e-5)
    alone, _ = run(lavt, batches, devices=1, optimizer=optimizer, dice_weight=0.5)
    shared, _ = run(lavt, batches, devices=4, optimizer=optimizer, dice_weight=0.5)
    assert len(set(alone)) == 10
    np.testing.assert_allclose(shared, alone, rtol=1e-4)


def test_micro_batches_add_up_to_the_whole_batch():
    batches = make_batches(3, batch=8)
    whole, state = run(Pointwise(), batches, devices=2, dice_weight=1.0)
    parts, other = run(Pointwise(), batches, devices=2, dice_weight=1.0, accumulate_steps=4)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        other.params,
        state.params,
    )


def test_frozen_parameters_stay_and_have_no_optimiser_state():
    frozen = optim.frozen_text(trained_layers=0, trained_embeddings=False)
    _, state = run(Pointwise(), make_batches(2), devices=1, frozen=frozen)
    start = jax.jit(Pointwise().init)(
        jax.random.PRNGKey(0),
        jnp.zeros((1, SIZE, SIZE, 3)),
        jnp.ones((1, TOKENS), jnp.int32),
        jnp.ones((1, TOKENS), jnp.int32),
    )["params"]
    np.testing.assert_array_equal(
        state.params["text_encoder"]["kernel"], start["text_encoder"]["kernel"]
    )
    assert np.any(state.params["decoder"]["kernel"] != start["decoder"]["kernel"])
    assert set(state.opt_state[0].mu) == {"decoder"}


def test_averaged_parameters_follow_at_their_decay():
    batches = make_batches(1)
    _, state = run(Pointwise(), batches, devices=1, ema_decay=0.75)
    _, start = run(Pointwise(), batches, devices=1, optimizer=optax.sgd(0.0), ema_decay=0.75)
    jax.tree.map(
        lambda ema, old, new: np.testing.assert_allclose(ema, 0.75 * old + 0.25 * new, rtol=1e-5),
        state.ema,
        start.params,
        state.params,
    )
    jax.tree.map(np.testing.assert_array_equal, state.eval_variables()["params"], state.ema)


def test_frozen_parameters_are_not_averaged_but_evaluated_with():
    frozen = optim.frozen_text(trained_layers=0, trained_embeddings=False)
    _, state = run(Pointwise(), make_batches(2), devices=1, frozen=frozen, ema_decay=0.75)
    assert set(state.params) == {"decoder", "text_encoder"}
    assert set(state.ema) == set(state.without_frozen(frozen).params) == {"decoder"}
    used = state.eval_variables()["params"]
    jax.tree.map(np.testing.assert_array_equal, used["decoder"], state.ema["decoder"])
    jax.tree.map(np.testing.assert_array_equal, used["text_encoder"], state.params["text_encoder"])


def test_a_loss_that_is_not_finite_is_flagged():
    batch = make_batches(1)[0] | {"image": np.full((BATCH, SIZE, SIZE, 3), np.nan, np.float32)}
    losses, _ = run(Pointwise(), [batch], devices=1)
    assert np.isnan(losses[0])


def test_uint8_images_are_normalised_and_floats_are_not():
    image = np.full((1, 1, 1, 3), 255, np.uint8)
    expected = (1.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(images.normalize(jnp.asarray(image))[0, 0, 0], expected, rtol=1e-6)
    already = jnp.full((1, 1, 1, 3), 0.25)
    np.testing.assert_array_equal(images.normalize(already), already)
