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
    steps = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    steps.append(
        optax.adamw(
            schedule,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=matrix_mask if config.decay_matrices_only else decay_mask,
        )
    )
    if (config.layer_decay, config.text_scale) != (1.0, 1.0):
        steps.append(scale_layers(config.layer_decay, config.text_scale))
    return optax.chain(*steps)


def scale_layers(layer_decay: float, text_scale: float) -> optax.GradientTransformation:
    """Scales the updates, decay included: layer-wise learning rates (Clark et al., ICLR 2020).

    A Swin block that lies k blocks below the last one learns `layer_decay`^k as fast as the
    decoder, the patch embedding slower still; fusion, gate and merging of a stage go with its last
    block. The text encoder learns `text_scale` as fast.

    Args:
      layer_decay: factor from one block to the one below it.
      text_scale: factor of the text encoder.
    """

    def update(updates: Params, state: optax.EmptyState, params: Params | None = None):
        del params
        depths = block_numbers(updates)
        last = max(depths.values(), default=0)

        def factor(path: Path) -> float:
            if path[0] == "text_encoder":
                return text_scale
            return layer_decay ** (last - depths[path]) if path in depths else 1.0

        scaled = flax.traverse_util.path_aware_map(lambda path, x: x * factor(path), updates)
        return scaled, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def block_numbers(params: Params) -> dict[Path, int]:
    """Returns for each parameter of the image encoder how many blocks lie up to its own.

    The patch embedding has number 0, the first block 1; the last norms have none.
    """
    paths = [p for p in flax.traverse_util.flatten_dict(params) if p[0] == "backbone"]
    blocks = sorted(
        {
            (_number(stage), _number(part))
            for _, stage, part, *_ in paths
            if part.startswith("blocks_")
        }
    )
    numbers = {}
    for path in paths:
        _, stage, part, *_ = path
        if stage == "patch_embed":
            numbers[path] = 0
        elif stage.startswith("layers_"):
            block = _number(part) if part.startswith("blocks_") else float("inf")
            numbers[path] = sum(known <= (_number(stage), block) for known in blocks)
    return numbers


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def matrix_mask(params: Params) -> Params:
    """Marks kernels and embeddings: biases, norms and position tables do not decay."""
    matrices = ("kernel", "embedding")
    return flax.traverse_util.path_aware_map(lambda path, _: path[-1] in matrices, params)


def decay_mask(params: Params) -> Params:
    """Marks what decays in the paper: all but the backbone's norms and position tables."""
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
