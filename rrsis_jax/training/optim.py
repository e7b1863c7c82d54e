"""Schedules, parameter groups and freezing, as optax transformations (paper, section IV-B)."""

from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import optax

from rrsis_jax.models.contract import Model
from rrsis_jax.types import Params

# Keys of the decay that a schedule does not have.
_UNUSED = {"polynomial": ("hold", "half_period", "floor"), "drop": ("half_period",)}


def build_schedule(config: ml_collections.ConfigDict, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: a linear warm-up, then the decay that is asked for.

    - "polynomial": the peak times (1 - step / total)^power;
    - "cosine": the peak until `hold`, then half a cosine down to `floor`;
    - "drop": the peak until `hold`, then `floor`.

    Args:
      config: the `optim` section.
      total_steps: the length of the run, warm-up included.

    Raises:
      ValueError: if the warm-up is as long as the run or ends after the decay has begun, or a key
        is set that the schedule does not have.
    """
    warmup, peak = config.warmup_steps, config.learning_rate
    if not 0 <= warmup < total_steps:
        raise ValueError(
            f"optim.warmup_steps is {warmup}, but the run has {total_steps} steps. "
            "Use fewer warm-up steps or train for longer."
        )
    pieces, ends = _decay(config, total_steps)
    if warmup:
        ramp = optax.linear_schedule(config.warmup_start * peak, peak, warmup)
        pieces, ends = [ramp, *pieces], [warmup, *ends]
    schedule = optax.join_schedules(pieces, ends)
    # Of an int32 step the quotient would be float32 even where JAX computes in float64.
    return lambda step: schedule(jnp.asarray(step, float))


def _decay(
    config: ml_collections.ConfigDict, total_steps: int
) -> tuple[list[optax.Schedule], list[int]]:
    """Returns what follows the warm-up, and the step at which each but the first piece begins."""
    for key in _UNUSED.get(config.schedule, ()):
        if value := getattr(config, key):
            raise ValueError(
                f"optim.{key} is {value}, but the schedule {config.schedule!r} has none. Set "
                f"optim.{key} to 0, or optim.schedule to one that has it."
            )
    warmup, peak = config.warmup_steps, config.learning_rate
    if config.schedule == "polynomial":
        steps = total_steps - warmup
        return [optax.polynomial_schedule(peak, 0.0, config.power, steps)], []
    begin = round(config.hold * total_steps)
    if (begin < warmup and config.hold) or (begin <= warmup and config.schedule == "drop"):
        raise ValueError(
            f"optim.hold is {config.hold}, so that the rate decays from step {begin} on, and "
            f"optim.warmup_steps is {warmup}. Set optim.hold to a share of the run's {total_steps} "
            "steps that is beyond the warm-up."
        )
    begin = max(begin, warmup)
    if config.schedule == "drop":
        decay = optax.constant_schedule(peak * config.floor)
    else:
        steps = round(config.half_period * total_steps) or total_steps - begin
        decay = optax.cosine_decay_schedule(peak, max(steps, 1), alpha=config.floor)
    if begin == warmup:
        return [decay], []
    return [optax.constant_schedule(peak), decay], [begin]


def build_optimizer(
    config: ml_collections.ConfigDict, schedule: optax.Schedule, model: Model
) -> optax.GradientTransformation:
    """Returns AdamW with decoupled decay, for the trained parameters only.

    Args:
      config: the `optim` section.
      schedule: the learning rate by step.
      model: says by which factors of rate and decay each parameter is optimised.
    """
    steps = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    steps += [
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        add_decay(config.weight_decay, model),
        optax.scale_by_learning_rate(schedule),
        scale_rates(model),
    ]
    return optax.chain(*steps)


def add_decay(weight_decay: float, model: Model) -> optax.GradientTransformation:
    """Adds `weight_decay` times the group's factor of each parameter to its update."""

    def decay(updates: Any, params: Any) -> Any:
        return jax.tree.map(
            lambda u, p, group: u + weight_decay * group.decay * p if group.decay else u,
            updates,
            params,
            groups_of(updates, model),
        )

    return optax.stateless(decay)


def scale_rates(model: Model) -> optax.GradientTransformation:
    """Scales each update, decay included, by its group's factor of the learning rate."""

    def scale(updates: Any, params: Any) -> Any:
        del params
        return jax.tree.map(lambda u, group: u * group.rate, updates, groups_of(updates, model))

    return optax.stateless(scale)


def groups_of(params: Params, model: Model) -> Params:
    """Returns the tree of `contract.Group` of trained parameters."""
    return flax.traverse_util.path_aware_map(lambda path, _: model.param_group(path), params)


def split_frozen(params: Params, model: Model) -> tuple[Params, Params]:
    """Splits `params` into (trained, frozen), two nested dictionaries without common leaves."""
    flat = flax.traverse_util.flatten_dict(params)
    frozen = {path for path in flat if model.param_group(path) is None}
    unflatten = flax.traverse_util.unflatten_dict
    return (
        unflatten({path: x for path, x in flat.items() if path not in frozen}),
        unflatten({path: x for path, x in flat.items() if path in frozen}),
    )
