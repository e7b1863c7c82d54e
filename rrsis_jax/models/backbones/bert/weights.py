"""Pretrained BERT encoders: hub names and local folders, cached by transformers.

The weights themselves go through our own mapping: `FlaxBertModel.from_pretrained` draws weights
that a file lacks at random and only logs it.
"""

import json
import pathlib
import re

import flax.traverse_util
import ml_collections
import numpy as np
from flax.serialization import msgpack_restore
from transformers.utils.hub import cached_file

from rrsis_jax.types import Params
from rrsis_jax.weights import state_dicts
from rrsis_jax.weights.mapping import (
    Report,
    Resize,
    Rule,
    Skip,
    import_weights,
    linear,
    norm,
    strip_prefix,
)

TEXT = "params/text_encoder/bert"
BERT_SKIPS = [
    Skip(r"(.*\.)?pooler\..*", "the pooler is not used"),
    Skip(r"(.*\.)?position_ids", "index buffer, recomputed"),
]


def bert_rules(max_tokens: int, prefix: str = "text_encoder.") -> list[Rule]:
    """Returns the rules of BERT.

    Args:
      max_tokens: rows of the position table that are read.
      prefix: what precedes the foreign names.
    """
    rules = []
    for table in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        resize = rows_beyond(max_tokens) if table == "position_embeddings" else None
        rules.append(
            Rule(
                f"{prefix}embeddings.{table}.weight",
                f"{TEXT}/embeddings/{table}/embedding",
                resize=resize,
            )
        )
    rules += norm(f"{prefix}embeddings.LayerNorm", f"{TEXT}/embeddings/LayerNorm")
    theirs, ours = prefix + "encoder.layer.{i}", TEXT + "/encoder/layer/{i}"
    for layer in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ):
        rules += linear(f"{theirs}.{layer}", f"{ours}/{layer.replace('.', '/')}")
    for layer in ("attention.output.LayerNorm", "output.LayerNorm"):
        rules += norm(f"{theirs}.{layer}", f"{ours}/{layer.replace('.', '/')}")
    return rules


def rows_beyond(needed: int) -> Resize:
    """Returns a resize that cuts or zero-fills table rows that are never read.

    Args:
      needed: rows that are read; a table with fewer does not fit.
    """

    def resize(table: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str] | None:
        rows = shape[0]
        if table.ndim != len(shape) or table.shape[1:] != shape[1:] or table.shape[0] < needed:
            return None
        came = table.shape[0]
        if came >= rows:
            return table[:rows], f"{came} rows cut to {rows}; only {needed} are read"
        filled = np.concatenate([table, np.zeros((rows - came, *shape[1:]), table.dtype)])
        return filled, f"{came} rows filled with zeros to {rows}; only {needed} are read"

    return resize


FLAX_FILE = "flax_model.msgpack"
# From the one that needs least to the one that needs PyTorch.
WEIGHT_FILES = ("model.safetensors", FLAX_FILE, "pytorch_model.bin")

# Sizes that the weights decide, under the same names in config.json and in config.model.text.
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
# What our text encoder computes with; also the values that an older config.json leaves out.
_FIXED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "position_embedding_type": "absolute",
}
_SKIPS = [*BERT_SKIPS, Skip(r"(cls|classifier)[./].*", "the head is not used")]
_FLAX_SKIPS = [*_SKIPS, Skip(r"pooler/.*", "the pooler is not used")]


def load(
    name_or_folder: str, shapes: Params, config: ml_collections.ConfigDict
) -> tuple[Params, Report]:
    """Reads the parameters of a pretrained BERT.

    Args:
      name_or_folder: a hub name as "bert-base-uncased", or a folder with config.json and
        model.safetensors, flax_model.msgpack, or pytorch_model.bin (which needs the `torch`
        extra).
      shapes: nested dictionaries of `jax.ShapeDtypeStruct`, those of `params["text_encoder"]`.
      config: the section `model.text` of a configuration.

    Returns:
      All of them as float32 NumPy arrays, and what went where.

    Raises:
      ValueError: if nothing is there, its sizes are not those of `config` (all are listed),
        weights do not fit, or PyTorch is needed and not installed.
    """
    _check_config(
        name_or_folder, json.loads(_find(name_or_folder, ("config.json",)).read_text()), config
    )
    path = _find(name_or_folder, WEIGHT_FILES)
    expected = flax.traverse_util.flatten_dict({"params": {"text_encoder": shapes}}, sep="/")
    if path.name == FLAX_FILE:
        # transformers names Flax parameters as our tree does.
        rules = [Rule(name.removeprefix(f"{TEXT}/"), name) for name in expected]
        loaded, report = import_weights(_read_flax(path), rules, _FLAX_SKIPS, expected)
    else:
        weights = _modern_names(strip_prefix(state_dicts.read_state_dict(path), "bert."))
        rules = bert_rules(config.max_tokens, prefix="")
        loaded, report = import_weights(weights, rules, _SKIPS, expected)
    return flax.traverse_util.unflatten_dict(loaded, sep="/")["params"]["text_encoder"], report


def _find(name_or_folder: str, names: tuple[str, ...]) -> pathlib.Path:
    """Returns the first of the files that a folder or the hub has."""
    problems = []
    for name in names:
        try:
            path = cached_file(name_or_folder, name)
        except OSError as error:
            problems.append(str(error).splitlines()[0])
            continue
        if path is not None:
            return pathlib.Path(path)
        problems.append(f"{name} is absent.")
    raise ValueError(
        f"{name_or_folder!r} has no {' or '.join(names)}: {problems[-1]} Give a hub name, or a "
        f"folder with config.json and one of {', '.join(WEIGHT_FILES)}; or set "
        'model.text.pretrained = "" to start from scratch.'
    )


def _read_flax(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the flattened weights of a msgpack file."""
    try:
        tree = msgpack_restore(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a whole Flax msgpack file: {error}.") from error
    tree = tree.get("params", tree)
    return strip_prefix(flax.traverse_util.flatten_dict(tree, sep="/"), "bert/")


def _modern_names(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames the norms of the first BERT releases: gamma and beta are weight and bias."""
    modern = {"gamma": "weight", "beta": "bias"}
    return {
        re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda match: modern[match[0]], name): value
        for name, value in weights.items()
    }


def _check_config(name_or_folder: str, config: dict, text: ml_collections.ConfigDict) -> None:
    """Compares config.json with what the model is built of."""
    differences = [
        f"  {key}: {config.get(key)} there, {text[key]} in config.model.text"
        for key in _SIZES
        if config.get(key) != text[key]
    ]
    differences += [
        f"  {key}: {config[key]!r} there, the text encoder is built with {value!r}"
        for key, value in _FIXED.items()
        if config.get(key, value) != value
    ]
    if differences:
        raise ValueError(
            f"{name_or_folder} does not fit the text encoder:\n" + "\n".join(differences) + "\n"
            "Set these keys of config.model.text to the values there, or name other weights."
        )
