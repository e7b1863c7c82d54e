"""What each key of a configuration may be: the shared keys here, a model's in its own config.py."""

import re
from collections.abc import Mapping
from typing import Any

import ml_collections

from rrsis_jax import validators
from rrsis_jax.models import registry
from rrsis_jax.validators import Rule

SHARED_RULES: Mapping[str, Rule] = {
    "seed": validators.whole(0, 2**31 - 1),
    "init_from": validators.tuple_of(validators.WEIGHTS),
    "data.dataset": validators.TEXT,
    "data.folder": validators.free(validators.TEXT),  # the run keeps what its data hold
    "data.foreground": Rule(
        "'above 50', 'nonzero', a whole number from 0 as text, or ''",
        lambda x: isinstance(x, str) and bool(re.fullmatch(r"|above 50|nonzero|[0-9]{1,5}", x)),
    ),
    "data.accept_changes": validators.free(validators.FLAG),
    "data.weights": validators.tuple_of(validators.POSITIVE),
    "data.data_dir": validators.free(validators.TEXT),
    "data.image_size": validators.whole(32, 8192),
    "data.ground_sampling_distance": validators.free(validators.FROM_ZERO),
    "data.tokenizer": validators.TEXT,
    "data.num_threads": validators.free(validators.whole(1, 1024)),
    "data.prefetch": validators.free(validators.COUNT),
    "data.augment.geometry": validators.one_of("none", "flips", "all"),
    "data.augment.crop_scale": validators.number("above 0 and at most 1", lambda x: 0 < x <= 1),
    "data.augment.crop_keeps": validators.SHARE,
    "data.augment.photometric": validators.RATE,
    "data.augment.absent_phrases": validators.SHARE,
    "data.augment.black_boxes": validators.SHARE,
    "optim.learning_rate": validators.POSITIVE,
    "optim.schedule": validators.one_of("polynomial", "cosine", "drop"),
    "optim.power": validators.FROM_ZERO,
    "optim.hold": validators.RATE,
    "optim.half_period": validators.FROM_ZERO,
    "optim.floor": validators.SHARE,
    "optim.warmup_steps": validators.MANY,
    "optim.warmup_start": validators.SHARE,
    "optim.b1": validators.RATE,
    "optim.b2": validators.RATE,
    "optim.eps": validators.POSITIVE,
    "optim.weight_decay": validators.FROM_ZERO,
    "optim.clip_norm": validators.FROM_ZERO,
    "optim.accumulate_steps": validators.COUNT,
    "optim.ema_decay": validators.RATE,
    "train.batch_size": validators.COUNT,
    "train.epochs": validators.POSITIVE,
    "train.log_every": validators.free(validators.COUNT),
    "train.eval_every_epochs": validators.POSITIVE,
    "train.profile_steps": validators.free(validators.MANY),
    "eval.batch_size": validators.free(validators.COUNT),
    "eval.num_pictures": validators.free(validators.MANY),
    "eval.test_time": validators.free(validators.one_of("none", "flips", "all")),
    "eval.absent_phrases": validators.free(validators.FLAG),
    "checkpoint.keep_latest": validators.free(validators.COUNT),
    "distributed.coordinator_address": validators.free(validators.TEXT),
    "distributed.num_processes": validators.free(validators.MANY),
    "distributed.process_id": validators.free(validators.whole(-1)),
    "distributed.backend": validators.free(validators.one_of("pmap", "shard_map")),
    "distributed.cpu_devices": validators.free(validators.MANY),
    "distributed.timeout": validators.free(validators.COUNT),
}

# The keys that came after version 0.1, with what their absence from a stored configuration means.
LATER: Mapping[str, Any] = {
    "data.foreground": "",
    "data.accept_changes": False,
    "data.weights": [],
    "data.augment.black_boxes": 0.0,
    "optim.schedule": "polynomial",
    "optim.hold": 0.0,
    "optim.half_period": 0.0,
    "optim.floor": 0.0,
    "optim.warmup_start": 0.0,
    "distributed.backend": "pmap",
    "distributed.cpu_devices": 0,
}


def rules(config: ml_collections.ConfigDict) -> dict[str, Rule]:
    """Returns the rule of every key that a configuration of its model has.

    Raises:
      ValueError: if the model is not known.
    """
    name = flat(config).get("model.name", "")
    return {**SHARED_RULES, **registry.rules(name)}


def check(config: ml_collections.ConfigDict, further_keys: bool = False) -> None:
    """Refuses values that no run can have.

    Args:
      config: the whole configuration.
      further_keys: whether to let keys pass that its model does not have, as a run of a later
        version may have them.

    Raises:
      ValueError: listing every key that is missing, unknown or whose value does not fit.
    """
    values, known = flat(config), rules(config)
    problems = [f"{key} is missing" for key in known if key not in values]
    problems += [
        f"{key} is no key of the model {values['model.name']!r}"
        for key in values
        if key not in known and not further_keys
    ]
    problems += [
        f"{key} is {values[key]!r:.60}; it must be {rule.words}"
        for key, rule in known.items()
        if key in values and not rule.fits(values[key])
    ]
    if problems:
        raise ValueError(
            "The configuration cannot be used:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + _of_another_model(values)
            + f"\nconfigs/default.py and rrsis_jax/models/{values['model.name']}/config.py explain "
            "every key."
        )


def _of_another_model(values: Mapping[str, Any]) -> str:
    """Returns in a sentence whose keys the values are, if another model's name was put to them."""
    name = values["model.name"]
    own = {key for key in values if key not in SHARED_RULES}
    for other in registry.names():
        if other != name and own == registry.rules(other).keys():
            return (
                f"\nThese are the keys of {other}: model.name={name} changes the name and no key. "
                f"Use a configuration of {name}, as --config={registry.recipe(name)}."
            )
    return ""


def about_key(key: str) -> str:
    """Returns in a sentence what has become of a key of a former version, or whose key it is.

    Args:
      key: dotted, as "optim.layer_decay".

    Returns:
      "" of a shared key, and of one that no model has or had.
    """
    present = {registry.former_keys(name).get(key) for name in registry.names()} - {None}
    if present:
        (now,) = present
        return (
            f"{key} is {now} since version 0.2." if now else f"Version 0.2 has no {key} any more."
        )
    models = [name for name in registry.names() if key in registry.rules(name)]
    return f"{key} is a key of {', '.join(models)}." if models else ""


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested values of a stored configuration under the present names of its keys.

    A key that came after the file gets the value that the run had without it, see `LATER`. Of
    version 0.1, when there was one family of models, what no model has now is left out. Before
    version 0.2, `init_from` was a text, "" for none.

    Args:
      values: read from a run's `config.json`.

    Raises:
      ValueError: if it names no known model.
    """
    stored = flat({**values, **_sources(values.get("init_from"))})
    name = stored.get("model.decoder") or stored.get("model.name", "")
    if "model.decoder" in stored:
        former, present = registry.former_keys(name), {*SHARED_RULES, *registry.rules(name)}
        renamed = {former.get(key, key): value for key, value in stored.items()}
        stored = {key: value for key, value in renamed.items() if key in present}
    nested: dict[str, Any] = {}
    for key, value in {**LATER, **registry.later_keys(name), **stored}.items():
        _insert(nested, key, value)
    return nested


def _insert(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key; a section that is a plain value stays one."""
    section, _, rest = key.partition(".")
    if not rest:
        values[section] = value
    elif isinstance(inner := values.setdefault(section, {}), dict):
        _insert(inner, rest, value)


def _sources(init_from: Any) -> dict[str, list[str]]:
    """Returns `init_from` as a list, if it is a text."""
    if not isinstance(init_from, str):
        return {}
    return {"init_from": [init_from] if init_from else []}


def flat(config: Mapping[str, Any] | ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns the values of a configuration by their dotted names."""
    values = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            values |= flat(value, f"{name}.")
        else:
            values[name] = value
    return values
