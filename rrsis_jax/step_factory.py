"""From a configuration to the training step mapped over devices."""

import functools
from collections.abc import Callable

import flax.linen as nn
import ml_collections
import optax

from rrsis_jax import optim, parallel, steps


def make_frozen(config_model: ml_collections.ConfigDict) -> Callable[[tuple[str, ...]], bool]:
    """Returns the predicate of parameters that are not optimised."""
    return optim.frozen_text(config_model.text.trained_layers, config_model.text.trained_embeddings)


def make_train_fn(
    config: ml_collections.ConfigDict, model: nn.Module, optimizer: optax.GradientTransformation
) -> Callable:
    """Returns the training step mapped over devices; it consumes the state that it is given."""
    step = functools.partial(
        steps.train_step,
        model=model,
        optimizer=optimizer,
        frozen=make_frozen(config.model),
        class_weights=config.loss.class_weights,
        dice_weight=config.loss.dice_weight,
        accumulate_steps=config.optim.accumulate_steps,
        ema_decay=config.optim.ema_decay,
    )
    return parallel.pmap(step, donate_argnums=(0,))
