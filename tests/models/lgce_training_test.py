"""LGCE's recorded optimisation steps in float64, through the project's own step.

The recorded batches hold two samples. Here two devices take one each, so that the synchronised
statistics and the summed gradients are held to the reference too. LAVT is all of this but for the
cross-scale block.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rrsis_jax.distributed import parallel
from rrsis_jax.models import published, registry
from rrsis_jax.training import optim, train_state, train_step
from rrsis_jax.weights import trees
from tests.conftest import golden_config
from tests.models import trajectories

DEVICES = 2
ROUND_OFF = 1e-12  # a gradient that vanishes in exact arithmetic stays below this on both sides


@pytest.fixture(scope="module")
def arrays(goldens):
    recorded = dict(np.load(goldens / "lgce_small_train64.npz"))
    text = zip(recorded["text_grad_names"], recorded["text_grad_norms"], strict=True)
    norms = dict(zip(recorded["grad_names"], recorded["grad_norms"], strict=True))
    norms |= {f"text_encoder.{name}": norm for name, norm in text}
    return {**recorded, "norms": norms}


def float64_config(bert, arrays):
    config = golden_config("lgce", small=True)
    config.model.dtype = "float64"
    for key in config.model.text:
        if hasattr(bert, key):
            config.model.text[key] = getattr(bert, key)
    config.model.text.trained_layers = int(arrays["trained_text_layers"])
    config.model.text.trained_embeddings = False
    config.optim.learning_rate = float(arrays["lr"])
    config.optim.weight_decay = float(arrays["weight_decay"])
    return config


def keeping_gradients(optimizer):
    """The optimiser, with the last gradients beside its state."""

    def init(params):
        return optimizer.init(params), jax.tree.map(jnp.zeros_like, params)

    def update(gradients, state, params):
        updates, inner = optimizer.update(gradients, state[0], params)
        return updates, (inner, gradients)

    return optax.GradientTransformation(init, update)


def mapped_step(model, variables, arrays):
    """Returns the train step over two devices and its first state."""
    schedule = optim.build_schedule(model.config.optim, int(arrays["total_steps"]))
    optimizer = keeping_gradients(optim.build_optimizer(model.config.optim, schedule, model))
    state = train_state.create_state(variables, optimizer, model, jax.random.key(0))
    step = functools.partial(train_step.train_step, model=model, optimizer=optimizer)
    return parallel.mapped(step), jax.tree.map(lambda x: jnp.stack([x] * DEVICES), state)


def sharded(batch):
    batch = {"images": {"image": batch["image"]}, **{k: batch[k] for k in ("text", "target")}}
    return jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch)


def first(tree):
    """The first device's copy."""
    return jax.tree.map(lambda x: np.asarray(x[0]), tree)


@pytest.fixture(scope="module")
def run(goldens, seeded, arrays):
    """All recorded steps: the losses, and by published names what the first and last step left."""
    seed = int(arrays["seed"])
    bert, weights_of_bert = trajectories.small_bert(goldens, seeded, seed)
    weights = seeded.seeded_state_dict(goldens / "manifest_lgce_small.json", seed)
    weights |= weights_of_bert
    text_of = trajectories.tokens_of(arrays, bert.vocab_size)
    batches = trajectories.batches_of(seeded, arrays, text_of)
    with jax.enable_x64(True):
        model = registry.build(float64_config(bert, arrays))
        variables, _ = published.import_state_dict(weights, model)
        step, state = mapped_step(model, variables, arrays)
        losses = []
        for index in range(int(arrays["steps"])):
            batch = batches[index % len(batches)]
            state, metrics = step(state, sharded(batch))
            losses.append(float(metrics["loss"][0]))
            if index == 0:
                gradients, batch_stats = first((state.opt_state[1], state.batch_stats))
        final = first(state.eval_variables())
        evaluate = jax.jit(functools.partial(model.network().apply, final))
        logits = evaluate({"image": batch["image"]}, batch["text"]).aux["logits"]

        nothing = jax.tree.map(np.zeros_like, variables["params"])
        of_first = {"params": trees.join(nothing, gradients), "batch_stats": batch_stats}
        after_first, after_last = (
            published.export_state_dict(tree, model)[0] for tree in (of_first, final)
        )
    learning = len(jax.tree.leaves(gradients))
    never_called = model.table().inert().keys()
    return weights, never_called, losses, after_first, learning, after_last, np.asarray(logits)


def test_losses_of_twelve_steps(run, arrays):
    losses = run[2]
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-7)


def test_gradient_norms_and_batch_statistics_of_the_first_step(run, arrays):
    *_, ours, learning, _, _ = run
    fixed = fixed_names(arrays)
    norms = {name: norm for name, norm in arrays["norms"].items() if name not in fixed}
    assert len(norms) == learning  # what has a gradient is exactly what we optimise
    for name, norm in norms.items():
        assert abs(np.linalg.norm(ours[name]) - norm) <= 1e-6 * norm + ROUND_OFF, name
    for statistic in ("running_mean", "running_var"):
        recorded = arrays[f"bn_{statistic}_after_step0"]
        np.testing.assert_allclose(ours[f"classifier.bn1_4.{statistic}"], recorded, rtol=1e-7)


def fixed_names(arrays):
    """Published names of what has no gradient in the reference, or is not optimised there."""
    layers = range(int(arrays["trained_text_layers"]))
    trained = tuple(f"text_encoder.encoder.layer.{layer}." for layer in layers)
    return {
        name
        for name, norm in arrays["norms"].items()
        if norm == 0.0 or (name.startswith("text_encoder.") and not name.startswith(trained))
    }


def test_the_model_after_twelve_steps(run, arrays):
    weights, never_called, *_, ours, logits = run
    np.testing.assert_allclose(logits[:, ::2, ::2], arrays["eval_logits_after"], atol=1e-6)
    untouched = {name for name in fixed_names(arrays) if name not in never_called}
    assert any("res_gate" in name for name in untouched)
    for name in untouched:
        np.testing.assert_array_equal(ours[name], weights[name], err_msg=name)
