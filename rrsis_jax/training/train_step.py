"""One training step: a pure function, and its mapping over devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from rrsis_jax.distributed import parallel
from rrsis_jax.models.contract import Model
from rrsis_jax.training import optim
from rrsis_jax.training.train_state import TrainState
from rrsis_jax.types import Batch, Params
from rrsis_jax.weights import trees

Scalars = dict[str, jax.Array]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Model,
    optimizer: optax.GradientTransformation,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> tuple[TrainState, Scalars]:
    """Takes one optimisation step on a device's share of the global batch.

    The loss is the global batch's: each term's sum is divided by the weight of all devices, and
    gradients are summed. So the result does not depend on the number of devices (but for the
    dropout masks, which do).

    Args:
      state: the replicated training state.
      batch: the device's share, see `types.Batch`.
      model: what is trained.
      optimizer: made by `optim.build_optimizer`.
      accumulate_steps: the share is cut into so many micro-batches, one after the other. The
        gradient is the whole batch's; BatchNorm sees the micro-batches.
      ema_decay: decay of the averages of the trained parameters; 0 if the state keeps none.

    Returns:
      The next state, and replicated scalars `loss`, `loss_<term>` for each term of several,
      `grad_norm`, and `finite`, whether loss and gradients are.
    """
    network, scales = model.network(parallel.AXIS), model.loss_scales()
    trained, frozen = optim.split_frozen(state.params, model)
    weights = parallel.sum_over_devices(model.loss_weights(batch))
    dropout_key = parallel.device_key(state.rng, state.step)

    def loss_share(
        trained: Params, batch_stats: Params, part: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Params, Scalars]]:
        outputs, updates = network.apply(
            {"params": trees.join(trained, frozen), "batch_stats": batch_stats},
            part["images"],
            part["text"],
            train=True,
            **({"arrays": part["arrays"]} if "arrays" in part else {}),
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        sums = model.loss_sums(outputs, part, parallel.gather_samples)
        # A term whose weight is zero has no sample in this batch, hence no sum.
        terms = {
            name: sums[name] / jnp.where(weights[name] > 0, weights[name], 1) for name in scales
        }
        loss = sum((scale * terms[name] for name, scale in scales.items()), jnp.float32(0))
        stats: Any = updates.get("batch_stats", {})
        return loss, (stats, terms)

    (loss, (batch_stats, terms)), gradients = _accumulate(
        jax.value_and_grad(loss_share, has_aux=True),
        trained,
        state.batch_stats,
        batch,
        dropout_key,
        accumulate_steps,
    )
    loss, terms, gradients = parallel.sum_over_devices((loss, terms, gradients))
    updates, opt_state = optimizer.update(gradients, state.opt_state, trained)
    trained: Any = optax.apply_updates(trained, updates)  # optax's trees may be bare numbers
    grad_norm = optax.tree.norm(gradients)
    next_state = dataclasses.replace(
        state,
        step=state.step + 1,
        params=trees.join(trained, frozen),
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=optax.incremental_update(trained, state.ema, 1.0 - ema_decay)
        if ema_decay
        else state.ema,
    )
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    parts = {f"loss_{name}": value for name, value in terms.items() if len(terms) > 1}
    return next_state, {"loss": loss, **parts, "grad_norm": grad_norm, "finite": finite}


def _accumulate(
    value_and_grad: Callable,
    trained: Params,
    batch_stats: Params,
    batch: Batch,
    key: Any,
    parts: int,
) -> tuple[tuple[jax.Array, tuple[Params, Scalars]], Params]:
    """Sums losses, their terms and gradients over `parts` micro-batches, one after the other."""
    if parts == 1:
        return value_and_grad(trained, batch_stats, batch, key)
    # (b, …) -> (parts, b / parts, …)
    pieces = jax.tree.map(lambda x: x.reshape((parts, x.shape[0] // parts, *x.shape[1:])), batch)

    def part_sums(stats: Params, piece: Batch, index: jax.Array) -> tuple[Params, Any]:
        (loss, (stats, terms)), gradients = value_and_grad(
            trained, stats, piece, jax.random.fold_in(key, index)
        )
        return stats, (loss, terms, gradients)

    def body(carry: tuple, piece_and_index: tuple) -> tuple[tuple, None]:
        stats, sums = carry
        stats, more = part_sums(stats, *piece_and_index)
        return (stats, jax.tree.map(jnp.add, sums, more)), None

    first = jax.tree.map(lambda x: x[0], pieces)
    shapes = jax.eval_shape(part_sums, batch_stats, first, 0)[1]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    start = (batch_stats, zeros)
    (stats, (loss, terms, gradients)), _ = jax.lax.scan(body, start, (pieces, jnp.arange(parts)))
    return (loss, (stats, terms)), gradients


def make_train_fn(
    config: ml_collections.ConfigDict, model: Model, optimizer: optax.GradientTransformation
) -> jax.stages.Wrapped:
    """Returns the training step mapped over devices; it consumes its state."""
    step = functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        accumulate_steps=config.optim.accumulate_steps,
        ema_decay=config.optim.ema_decay,
    )
    return parallel.mapped(step, donate_argnums=(0,), backend=config.distributed.backend)
