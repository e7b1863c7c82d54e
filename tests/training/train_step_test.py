"""One step: the same on every device count, exact accumulation, averaging, freezing, counting."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from benchmarks import harness
from rrsis_jax.distributed import parallel
from rrsis_jax.models import registry
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.lavt.model import Lavt
from rrsis_jax.models.layers import images
from rrsis_jax.training import train_state, train_step
from tests import processes, small_config
from tests.tiny_config import get_config as make_tiny_config

SIZE, TOKENS, BATCH = 16, 6, 4


class PointwiseNetwork(nn.Module):
    """Log-odds from pixels and the mean token id, without batch statistics."""

    @nn.compact
    def __call__(self, images_by_name, text, train=False):
        self.variable("batch_stats", "unused", jnp.zeros, (1,))
        image = images.normalize(images_by_name["image"])
        phrase = jnp.sum(text["input_ids"] * text["attention_mask"], axis=1) / 100.0
        worded = nn.Dense(1, name="text_encoder")(image * phrase.reshape(-1, 1, 1, 1))
        return Outputs((worded + nn.Dense(1, name="decoder")(image))[..., 0])


class Pointwise(Lavt):
    """LAVT's losses and groups with that network."""

    def network(self, axis_name=None):
        return PointwiseNetwork()


class Contrasting(Pointwise):
    """With a term over all pairs of samples of the global batch."""

    def loss_scales(self):
        return {**super().loss_scales(), "pairs": 0.5}

    def loss_weights(self, batch):
        return {**super().loss_weights(batch), "pairs": jnp.float32(len(batch["target"]))}

    def loss_sums(self, outputs, batch, gather):
        mean = jnp.mean(outputs.log_odds, axis=(1, 2))
        pairs = mean[:, None] * gather(mean)[None, :]
        sums = super().loss_sums(outputs, batch, gather)
        return {**sums, "pairs": jnp.sum(jnp.tanh(pairs))}


def pointwise(kind=Pointwise, **changes):
    config = make_tiny_config("lavt")
    config.update_from_flattened_dict(changes)
    return kind(config)


FROZEN_TEXT = {"model.text.trained_layers": 0, "model.text.trained_embeddings": False}


def make_batches(count, batch=BATCH, size=SIZE, model=None):
    rng = np.random.default_rng(0)
    sides = {name: image.size for name, image in model.inputs().images.items()} if model else {}
    return [
        {
            "images": {
                name: rng.integers(0, 256, (batch, side, side, 3), np.uint8)
                for name, side in (sides or {"image": size}).items()
            },
            "target": rng.integers(0, 2, (batch, size, size)).astype(np.uint8),
            "text": {
                "input_ids": rng.integers(1, 39, (batch, TOKENS)).astype(np.int32),
                "attention_mask": np.ones((batch, TOKENS), np.int32),
            },
            "index": np.arange(batch, dtype=np.int32),
        }
        for _ in range(count)
    ]


def on_devices(tree, devices):
    return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), tree)


def start(model, batch):
    first = jax.tree.map(lambda x: jnp.asarray(x[:1]), batch)
    return jax.jit(model.network().init)(jax.random.PRNGKey(0), first["images"], first["text"])


def run(model, batches, devices, **options):
    """Returns the scalars of each of a few steps on some devices, and the final state."""
    backend = options.pop("backend", parallel.PMAP)
    optimizer = options.pop("optimizer", optax.adamw(1e-2))
    keep_ema = options.get("ema_decay", 0.0) > 0
    state = train_state.create_state(
        start(model, batches[0]), optimizer, model, jax.random.PRNGKey(1), keep_ema=keep_ema
    )
    state = jax.tree.map(lambda x: jnp.stack([x] * devices), state)
    step = parallel.mapped(
        functools.partial(train_step.train_step, model=model, optimizer=optimizer, **options),
        devices=jax.devices()[:devices],
        backend=backend,
    )
    found = []
    for batch in batches:
        state, scalars = step(state, on_devices(batch, devices))
        found.append({name: float(x[0]) for name, x in scalars.items()})
        assert found[-1]["finite"] == np.isfinite(found[-1]["loss"])
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, np.stack([x[0]] * devices)), state)
    return found, jax.tree.map(lambda x: np.asarray(x[0]), state)


def losses(scalars):
    return [step["loss"] for step in scalars]


def assert_close(one, other):
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, one, other)


def test_the_same_losses_on_one_device_and_on_four():
    """With shared batch norms; `models/lgce_training_test.py` holds LGCE to its recording."""
    tiny = registry.build(small_config.get_config())
    batches, optimizer = make_batches(10, size=32, model=tiny), optax.adamw(1e-3)
    alone, _ = run(tiny, batches, devices=1, optimizer=optimizer)
    shared, _ = run(tiny, batches, devices=4, optimizer=optimizer)
    assert len(set(losses(alone))) == 10
    np.testing.assert_allclose(losses(shared), losses(alone), rtol=1e-4)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_both_backends_take_the_same_steps_to_the_bit(devices):
    model, batches = pointwise(Contrasting), make_batches(3)
    scalars, state = run(model, batches, devices)
    twins, twin = run(model, batches, devices, backend=parallel.SHARD_MAP)
    assert len(set(losses(scalars))) == 3
    assert twins == scalars
    jax.tree.map(np.testing.assert_array_equal, twin, state)


EIGHT_DEVICES = """
import jax
import numpy as np
from rrsis_jax.distributed import parallel
from tests.training import train_step_test as tests

model, batches = tests.pointwise(tests.Contrasting), tests.make_batches(3, batch=8)
scalars, state = tests.run(model, batches, 8)
twins, twin = tests.run(model, batches, 8, backend=parallel.SHARD_MAP)
assert twins == scalars
jax.tree.map(np.testing.assert_array_equal, twin, state)
print(jax.device_count(), len(set(tests.losses(scalars))))
"""


def test_both_backends_take_the_same_steps_on_eight_devices():
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES],
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        env=harness.environment_of_devices(8),
    )
    assert done.stdout.split() == ["8", "3"], done.stderr


def test_terms_are_reported_and_add_up_under_their_scales():
    tiny = registry.build(small_config.get_config())
    batches = make_batches(2, size=32, model=tiny)
    scalars, state = run(tiny, batches, devices=2)
    for step in scalars:
        assert step.keys() == {"loss", "loss_cross_entropy", "loss_context", "grad_norm", "finite"}
        assert step["loss"] == pytest.approx(
            step["loss_cross_entropy"] + 0.5 * step["loss_context"]
        )
        assert step["loss_context"] > 0
    np.testing.assert_array_equal(state.params["scale"], np.ones((1, 1, 1, 16)))
    assert "scale" not in state.opt_state[0].mu
    (alone,), _ = run(pointwise(), make_batches(1), devices=1)
    assert alone.keys() == {"loss", "grad_norm", "finite"}


def test_a_loss_over_all_pairs_does_not_depend_on_the_number_of_devices():
    model, batches = pointwise(Contrasting), make_batches(3)
    alone, state = run(model, batches, devices=1)
    shared, other = run(model, batches, devices=4)
    assert all(step["loss_pairs"] != 0 for step in alone)
    assert_close(shared, alone)
    assert_close(other.params, state.params)


def test_a_term_without_weight_in_a_batch_costs_nothing():
    class Absent(Contrasting):
        def loss_weights(self, batch):
            return {**super().loss_weights(batch), "pairs": jnp.float32(0)}

        def loss_sums(self, outputs, batch, gather):
            return {**super().loss_sums(outputs, batch, gather), "pairs": jnp.float32(0)}

    (step,), state = run(pointwise(Absent), make_batches(1), devices=1)
    (plain,), other = run(pointwise(), make_batches(1), devices=1)
    assert (step["loss"], step["loss_pairs"]) == (plain["loss"], 0.0)
    jax.tree.map(np.testing.assert_array_equal, state.params, other.params)


def test_micro_batches_add_up_to_the_whole_batch():
    model, batches = pointwise(**{"loss.dice_weight": 1.0}), make_batches(3, batch=8)
    whole, state = run(model, batches, devices=2)
    parts, other = run(model, batches, devices=2, accumulate_steps=4)
    assert_close(parts, whole)
    assert_close(other.params, state.params)


def test_frozen_parameters_stay_and_have_no_optimiser_state():
    model, batches = pointwise(**FROZEN_TEXT), make_batches(2)
    _, state = run(model, batches, devices=1)
    first = start(model, batches[0])["params"]
    np.testing.assert_array_equal(
        state.params["text_encoder"]["kernel"], first["text_encoder"]["kernel"]
    )
    assert np.any(state.params["decoder"]["kernel"] != first["decoder"]["kernel"])
    assert set(state.opt_state[0].mu) == {"decoder"}


def test_averaged_parameters_follow_at_their_decay():
    model, batches = pointwise(), make_batches(1)
    _, state = run(model, batches, devices=1, ema_decay=0.75)
    _, before = run(model, batches, devices=1, optimizer=optax.sgd(0.0), ema_decay=0.75)
    jax.tree.map(
        lambda ema, old, new: np.testing.assert_allclose(ema, 0.75 * old + 0.25 * new, rtol=1e-5),
        state.ema,
        before.params,
        state.params,
    )
    jax.tree.map(np.testing.assert_array_equal, state.eval_variables()["params"], state.ema)


def test_frozen_parameters_are_not_averaged_but_evaluated_with():
    model = pointwise(**FROZEN_TEXT)
    _, state = run(model, make_batches(2), devices=1, ema_decay=0.75)
    assert set(state.params) == {"decoder", "text_encoder"}
    assert set(state.ema) == set(state.without_frozen(model).params) == {"decoder"}
    used = state.eval_variables()["params"]
    jax.tree.map(np.testing.assert_array_equal, used["decoder"], state.ema["decoder"])
    jax.tree.map(np.testing.assert_array_equal, used["text_encoder"], state.params["text_encoder"])


def test_a_loss_that_is_not_finite_is_flagged():
    nothing = np.full((BATCH, SIZE, SIZE, 3), np.nan, np.float32)
    batch = make_batches(1)[0] | {"images": {"image": nothing}}
    (step,), _ = run(pointwise(), [batch], devices=1)
    assert np.isnan(step["loss"])


def test_uint8_images_are_normalised_and_floats_are_not():
    image = np.full((1, 1, 1, 3), 255, np.uint8)
    expected = (1.0 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(images.normalize(jnp.asarray(image))[0, 0, 0], expected, rtol=1e-6)
    already = jnp.full((1, 1, 1, 3), 0.25)
    np.testing.assert_array_equal(images.normalize(already), already)


def test_stored_rows_reach_the_network():
    model = registry.build(small_config.get_config())
    (batch,) = make_batches(1, size=32, model=model)
    rows = [{"context": np.full((BATCH, 16, 16), value, np.uint8)} for value in (0, 200)]
    batches = [{**batch, "arrays": each} for each in rows]
    scalars, _ = run(model, batches, devices=1, optimizer=optax.sgd(0.0))
    without, with_rows = losses(scalars)
    assert abs(with_rows - without) > 1e-3
