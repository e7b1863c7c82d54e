"""What each key of a configuration may be; `configs/default.py` explains what the keys do."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a value has to be, in words, and the function that tells."""

    words: str
    fits: Callable[[Any], bool]


def _whole(least: int, most: int = 10**9) -> Rule:
    limits = f"of at least {least}" if most == 10**9 else f"from {least} to {most}"
    return Rule(f"a whole number {limits}", lambda x: type(x) is int and least <= x <= most)


def _number(words: str, fits: Callable[[float], bool]) -> Rule:
    def check(x: Any) -> bool:
        return type(x) in (int, float) and math.isfinite(x) and abs(x) < 1e9 and fits(x)

    return Rule(f"a number {words}", check)


def _tuple(of: Rule, length: int) -> Rule:
    def check(x: Any) -> bool:
        return isinstance(x, tuple | list) and len(x) == length and all(map(of.fits, x))

    return Rule(f"{length} times {of.words}", check)


def _one_of(*values: str) -> Rule:
    return Rule(f"one of {', '.join(values)}", lambda x: x in values)


_TEXT = Rule("text without control characters", lambda x: isinstance(x, str) and x.isprintable())
_FLAG = Rule("True or False", lambda x: isinstance(x, bool))
_POSITIVE = _number("above 0", lambda x: x > 0)
_FROM_ZERO = _number("of at least 0", lambda x: x >= 0)
_SHARE = _number("from 0 to 1", lambda x: 0 <= x <= 1)
_RATE = _number("of at least 0 and below 1", lambda x: 0 <= x < 1)
_COUNT = _whole(1)
_MANY = _whole(0)

RULES: Mapping[str, Rule] = {
    "seed": _whole(0, 2**31 - 1),
    "init_from": _TEXT,
    "data.dataset": _TEXT,
    "data.folder": _TEXT,
    "data.data_dir": _TEXT,
    "data.image_size": _whole(32, 8192),
    "data.ground_sampling_distance": _FROM_ZERO,
    "data.tokenizer": _TEXT,
    "data.num_threads": _whole(1, 1024),
    "data.prefetch": _COUNT,
    "data.augment.geometry": _one_of("none", "flips", "all"),
    "data.augment.crop_scale": _number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "data.augment.crop_keeps": _SHARE,
    "data.augment.photometric": _RATE,
    "data.augment.absent_phrases": _SHARE,
    "model.decoder": _one_of("lgce", "lavt"),
    "model.dtype": _one_of("float32", "bfloat16"),
    "model.remat": _FLAG,
    "model.scan": _FLAG,
    "model.vision.pretrained": _TEXT,
    "model.vision.embed_dim": _COUNT,
    "model.vision.depths": _tuple(_COUNT, 4),
    "model.vision.num_heads": _tuple(_COUNT, 4),
    "model.vision.window_size": _COUNT,
    "model.vision.drop_path_rate": _RATE,
    "model.text.pretrained": _TEXT,
    "model.text.hidden_size": _COUNT,
    "model.text.num_hidden_layers": _COUNT,
    "model.text.num_attention_heads": _COUNT,
    "model.text.intermediate_size": _COUNT,
    "model.text.vocab_size": _COUNT,
    "model.text.max_position_embeddings": _COUNT,
    "model.text.dropout": _RATE,
    "model.text.max_tokens": _COUNT,
    "model.text.trained_layers": _MANY,
    "model.text.trained_embeddings": _FLAG,
    "model.fusion.num_heads": _COUNT,
    "model.fusion.dropout": _RATE,
    "model.fusion.live_gates": _FLAG,
    "model.guide.over_words": _FLAG,
    "model.guide.live": _FLAG,
    "loss.class_weights": _tuple(_POSITIVE, 2),
    "loss.dice_weight": _FROM_ZERO,
    "optim.learning_rate": _POSITIVE,
    "optim.power": _FROM_ZERO,
    "optim.warmup_steps": _MANY,
    "optim.b1": _RATE,
    "optim.b2": _RATE,
    "optim.eps": _POSITIVE,
    "optim.weight_decay": _FROM_ZERO,
    "optim.clip_norm": _FROM_ZERO,
    "optim.accumulate_steps": _COUNT,
    "optim.ema_decay": _RATE,
    "optim.decay_matrices_only": _FLAG,
    "optim.layer_decay": _number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "optim.text_scale": _POSITIVE,
    "train.batch_size": _COUNT,
    "train.epochs": _POSITIVE,
    "train.log_every": _COUNT,
    "train.eval_every_epochs": _POSITIVE,
    "train.profile_steps": _MANY,
    "eval.batch_size": _COUNT,
    "eval.num_pictures": _MANY,
    "eval.test_time": _one_of("none", "flips", "all"),
    "eval.absent_phrases": _FLAG,
    "checkpoint.keep_latest": _COUNT,
    "distributed.coordinator_address": _TEXT,
    "distributed.num_processes": _MANY,
    "distributed.process_id": _whole(-1),
    "distributed.timeout": _COUNT,
}


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses values that no run can have.

    Raises:
      ValueError: listing every key that is missing or whose value does not fit.
    """
    values = flat(config)
    problems = [f"{key} is missing" for key in RULES if key not in values]
    problems += [
        f"{key} is {values[key]!r:.60}; it must be {rule.words}"
        for key, rule in RULES.items()
        if key in values and not rule.fits(values[key])
    ]
    if problems:
        raise ValueError(
            "The configuration cannot be used:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nconfigs/default.py explains every key."
        )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of a configuration by their dotted names."""
    found = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found
