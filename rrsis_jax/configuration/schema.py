"""What each key of a configuration may be; `configs/default.py` explains what the keys do."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.validators import Rule

RULES: Mapping[str, Rule] = {
    "seed": validators.whole(0, 2**31 - 1),
    "init_from": validators.TEXT,
    "data.dataset": validators.TEXT,
    "data.folder": validators.TEXT,
    "data.weights": validators.tuple_of(validators.POSITIVE),
    "data.data_dir": validators.TEXT,
    "data.image_size": validators.whole(32, 8192),
    "data.ground_sampling_distance": validators.FROM_ZERO,
    "data.tokenizer": validators.TEXT,
    "data.num_threads": validators.whole(1, 1024),
    "data.prefetch": validators.COUNT,
    "data.augment.geometry": validators.one_of("none", "flips", "all"),
    "data.augment.crop_scale": validators.number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "data.augment.crop_keeps": validators.SHARE,
    "data.augment.photometric": validators.RATE,
    "data.augment.absent_phrases": validators.SHARE,
    "model.decoder": validators.one_of("lgce", "lavt"),
    "model.dtype": validators.one_of("float32", "bfloat16"),
    "model.remat": validators.FLAG,
    "model.scan": validators.FLAG,
    "model.vision.pretrained": validators.TEXT,
    "model.vision.embed_dim": validators.COUNT,
    "model.vision.depths": validators.tuple_of(validators.COUNT, 4),
    "model.vision.num_heads": validators.tuple_of(validators.COUNT, 4),
    "model.vision.window_size": validators.COUNT,
    "model.vision.drop_path_rate": validators.RATE,
    "model.text.pretrained": validators.TEXT,
    "model.text.hidden_size": validators.COUNT,
    "model.text.num_hidden_layers": validators.COUNT,
    "model.text.num_attention_heads": validators.COUNT,
    "model.text.intermediate_size": validators.COUNT,
    "model.text.vocab_size": validators.COUNT,
    "model.text.max_position_embeddings": validators.COUNT,
    "model.text.dropout": validators.RATE,
    "model.text.max_tokens": validators.COUNT,
    "model.text.trained_layers": validators.MANY,
    "model.text.trained_embeddings": validators.FLAG,
    "model.fusion.num_heads": validators.COUNT,
    "model.fusion.dropout": validators.RATE,
    "model.fusion.live_gates": validators.FLAG,
    "model.guide.over_words": validators.FLAG,
    "model.guide.live": validators.FLAG,
    "loss.class_weights": validators.tuple_of(validators.POSITIVE, 2),
    "loss.dice_weight": validators.FROM_ZERO,
    "optim.learning_rate": validators.POSITIVE,
    "optim.power": validators.FROM_ZERO,
    "optim.warmup_steps": validators.MANY,
    "optim.b1": validators.RATE,
    "optim.b2": validators.RATE,
    "optim.eps": validators.POSITIVE,
    "optim.weight_decay": validators.FROM_ZERO,
    "optim.clip_norm": validators.FROM_ZERO,
    "optim.accumulate_steps": validators.COUNT,
    "optim.ema_decay": validators.RATE,
    "optim.decay_matrices_only": validators.FLAG,
    "optim.layer_decay": validators.number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "optim.text_scale": validators.POSITIVE,
    "train.batch_size": validators.COUNT,
    "train.epochs": validators.POSITIVE,
    "train.log_every": validators.COUNT,
    "train.eval_every_epochs": validators.POSITIVE,
    "train.profile_steps": validators.MANY,
    "eval.batch_size": validators.COUNT,
    "eval.num_pictures": validators.MANY,
    "eval.test_time": validators.one_of("none", "flips", "all"),
    "eval.absent_phrases": validators.FLAG,
    "checkpoint.keep_latest": validators.COUNT,
    "distributed.coordinator_address": validators.TEXT,
    "distributed.num_processes": validators.MANY,
    "distributed.process_id": validators.whole(-1),
    "distributed.timeout": validators.COUNT,
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
