"""Schedules, parameter groups and freezing, as optax transformations (paper, section IV-B)."""

from collections.abc import Callable

import flax.traverse_util
import ml_collections
import optax

from rrsis_jax.types import Params

Path = tuple[str, ...]

_NO_DECAY_IN_BACKBONE = ("norm", "absolute_pos_embed", "relative_position_bias_table")


def build_schedule(config: ml_collections.ConfigDict, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: linear warm-up, then (1 - step / total)^power.

    Args:
      config: the `optim` section.
      total_steps: the length of the run, warm-up included.

    Raises:
      ValueError: if the warm-up is as long as the run.
    """
    warmup = config.warmup_steps
    if not 0 <= warmup < total_steps:
        raise ValueError(
            f"optim.warmup_steps is {warmup}, but the run has {total_steps} steps. "
            "Use fewer warm-up steps or train for longer."
        )
    decay = optax.polynomial_schedule(config.learning_rate, 0.0, config.power, total_steps - warmup)
    if not warmup:
        return decay
    ramp = optax.linear_schedule(0.0, config.learning_rate, warmup)
    return optax.join_schedules([ramp, decay], [warmup])


def build_optimizer(
    config: ml_collections.ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Returns AdamW with decoupled decay, for the trained parameters only.

    Args:
      config: the `optim` section.
      schedule: the learning rate by step.
    """
    adamw = optax.adamw(
        schedule,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )
    if not config.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def decay_mask(params: Params) -> Params:
    """Marks the parameters that decay: all but the backbone's norms and position tables."""
    return flax.traverse_util.path_aware_map(lambda path, _: decays(path), params)


def decays(path: Path) -> bool:
    """Returns whether weight decay applies to the parameter at `path`.

    As in the reference, biases, the decoder's norms and BERT's norms do decay.
    """
    if path[0] != "backbone":
        return True
    name = "/".join(path)
    return not any(word in name for word in _NO_DECAY_IN_BACKBONE)


def frozen_text(trained_layers: int, trained_embeddings: bool) -> Callable[[Path], bool]:
    """Returns the predicate of parameters that stay as they were loaded.

    Args:
      trained_layers: encoder layers 0 … trained_layers - 1 of the text encoder are optimised.
      trained_embeddings: whether its embeddings are optimised.
    """

    def frozen(path: Path) -> bool:
        if path[0] != "text_encoder":
            return False
        if "layer" in path:
            return int(path[path.index("layer") + 1]) >= trained_layers
        return not trained_embeddings

    return frozen


def split_frozen(params: Params, frozen: Callable[[Path], bool]) -> tuple[Params, Params]:
    """Splits `params` into (trained, frozen), two nested dictionaries without common leaves."""
    flat = flax.traverse_util.flatten_dict(params)
    trained = {path: x for path, x in flat.items() if not frozen(path)}
    kept = {path: x for path, x in flat.items() if frozen(path)}
    unflatten = flax.traverse_util.unflatten_dict
    return unflatten(trained), unflatten(kept)


def join_frozen(trained: Params, kept: Params) -> Params:
    """Undoes `split_frozen`."""
    flatten = flax.traverse_util.flatten_dict
    return flax.traverse_util.unflatten_dict({**flatten(trained), **flatten(kept)})
