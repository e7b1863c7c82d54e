"""One training step: a pure function, and the same mapped over devices."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax

from rrsis_jax.distributed import parallel
from rrsis_jax.models import losses, registry
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.training import optim
from rrsis_jax.training.train_state import TrainState
from rrsis_jax.types import Batch, Params
from rrsis_jax.weights import trees


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    frozen: Callable[[tuple[str, ...]], bool],
    class_weights: Sequence[float],
    dice_weight: float = 0.0,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimisation step on a device's share of the global batch.

    The loss is the global batch's: each device divides its sum by the weight of all devices'
    pixels, and gradients are summed. So the result does not depend on the number of devices
    (but for the dropout masks, which do).

    Args:
      state: the replicated training state.
      batch: the device's share, see `types.Batch`.
      model: a `ReferringSegmenter` built with `axis_name=parallel.AXIS`.
      optimizer: made by `optim.build_optimizer`.
      frozen: which parameter paths are not optimised.
      class_weights: cross-entropy weights of background and target.
      dice_weight: weight of the soft Dice loss beside the cross entropy.
      accumulate_steps: the share is cut into so many micro-batches, one after the other. The
        gradient is the whole batch's; BatchNorm sees the micro-batches.
      ema_decay: decay of the averages of the trained parameters; 0 if the state keeps none.

    Returns:
      The next state, and replicated scalars `loss`, `grad_norm`, and `finite`, whether both are.
    """
    trained, kept = optim.split_frozen(state.params, frozen)
    weights = losses.pixel_weights(batch["mask"], class_weights)
    samples = jnp.float32(len(weights))
    total_weight, total_samples = parallel.sum_over_devices((jnp.sum(weights), samples))
    dropout_key = parallel.device_key(state.rng, state.step)

    def loss_share(
        trained: Params, batch_stats: Params, part: Batch, key: jax.Array
    ) -> tuple[jax.Array, Params]:
        logits, updates = model.apply(
            {"params": trees.join(trained, kept), "batch_stats": batch_stats},
            normalize(part["image"]),
            part["input_ids"],
            part["attention_mask"],
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        entropy = losses.cross_entropy(logits, part["mask"])
        entropy *= losses.pixel_weights(part["mask"], class_weights)
        loss = jnp.sum(entropy) / total_weight
        if dice_weight:
            dice = losses.soft_dice(logits, part["mask"])
            loss += dice_weight * jnp.sum(dice) / total_samples
        return loss, updates["batch_stats"]

    (loss, batch_stats), gradients = _accumulate(
        jax.value_and_grad(loss_share, has_aux=True),
        trained,
        state.batch_stats,
        batch,
        dropout_key,
        accumulate_steps,
    )
    loss, gradients = parallel.sum_over_devices((loss, gradients))
    updates, opt_state = optimizer.update(gradients, state.opt_state, trained)
    trained = optax.apply_updates(trained, updates)
    grad_norm = optax.tree.norm(gradients)
    next_state = state.replace(
        step=state.step + 1,
        params=trees.join(trained, kept),
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=optax.incremental_update(trained, state.ema, 1.0 - ema_decay)
        if ema_decay
        else state.ema,
    )
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    return next_state, {"loss": loss, "grad_norm": grad_norm, "finite": finite}


def _accumulate(
    value_and_grad: Callable,
    trained: Params,
    batch_stats: Params,
    batch: Batch,
    key: Any,
    parts: int,
) -> tuple[tuple[jax.Array, Params], Params]:
    """Sums losses and gradients over `parts` micro-batches, one after the other."""
    if parts == 1:
        return value_and_grad(trained, batch_stats, batch, key)
    # (b, …) -> (parts, b / parts, …)
    pieces = jax.tree.map(lambda x: x.reshape((parts, x.shape[0] // parts, *x.shape[1:])), batch)

    def body(carry: tuple, piece_and_index: tuple) -> tuple[tuple, None]:
        loss, stats, gradients = carry
        piece, index = piece_and_index
        (share, stats), more = value_and_grad(trained, stats, piece, jax.random.fold_in(key, index))
        return (loss + share, stats, jax.tree.map(jnp.add, gradients, more)), None

    start = (jnp.float32(0.0), batch_stats, jax.tree.map(jnp.zeros_like, trained))
    (loss, stats, gradients), _ = jax.lax.scan(body, start, (pieces, jnp.arange(parts)))
    return (loss, stats), gradients


def make_frozen(config_model: ml_collections.ConfigDict) -> Callable[[tuple[str, ...]], bool]:
    """Returns the predicate of parameters that are not optimised: frozen text, and what is unused.

    Args:
      config_model: the `model` section of a configuration.
    """
    text = config_model.text
    frozen_text = optim.frozen_text(text.trained_layers, text.trained_embeddings)
    unused = registry.without_gradient(config_model)

    def frozen(path: tuple[str, ...]) -> bool:
        return frozen_text(path) or any(path[: len(start)] == start for start in unused)

    return frozen


def make_train_fn(
    config: ml_collections.ConfigDict, model: nn.Module, optimizer: optax.GradientTransformation
) -> Callable:
    """Returns the training step mapped over devices; it consumes the state that it is given."""
    step = functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        frozen=make_frozen(config.model),
        class_weights=config.loss.class_weights,
        dice_weight=config.loss.dice_weight,
        accumulate_steps=config.optim.accumulate_steps,
        ema_decay=config.optim.ema_decay,
    )
    return parallel.pmap(step, donate_argnums=(0,))
