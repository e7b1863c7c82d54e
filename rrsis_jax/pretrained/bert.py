"""Pretrained BERT encoders through transformers: hub names and local folders."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np
from flax import traverse_util
from transformers import BertConfig, FlaxBertModel

from rrsis_jax.models.segmenter import variable_shapes
from rrsis_jax.pretrained.files import import_torch
from rrsis_jax.pretrained.mapping import Rule, import_weights
from rrsis_jax.pretrained.rules import TEXT

# Sizes that the weights decide, under the same names in config.json and in config.model.text.
_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
# What the text encoder computes with, fixed in our model.
_FIXED = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "position_embedding_type": "absolute",
}


def load(name_or_folder: str, config_model: ml_collections.ConfigDict) -> dict:
    """Reads the parameters of a pretrained BERT.

    Flax weights are preferred, then safetensors, then PyTorch's .bin, which needs the `torch`
    extra. Heads and pooler are left out.

    Args:
      name_or_folder: a hub name as "bert-base-uncased", or a folder with config.json.
      config_model: the `model` section of the configuration.

    Returns:
      `params["text_encoder"]`: nested dictionaries of float32 NumPy arrays.

    Raises:
      ValueError: if nothing is found there, its sizes are not those of `config_model.text` (all are
        listed), weights are missing, or PyTorch is needed and not installed.
    """
    with _quiet_transformers():
        config = _read_config(name_or_folder)
        _check_config(name_or_folder, config, config_model.text)
        params = _read_params(name_or_folder, config)
    flat = traverse_util.flatten_dict(jax.tree.map(np.asarray, params), sep="/")
    flat = {path: value for path, value in flat.items() if not path.startswith("pooler/")}
    expected = {
        path: spec
        for path, spec in traverse_util.flatten_dict(variable_shapes(config_model), sep="/").items()
        if path.startswith(f"{TEXT}/")
    }
    # transformers names Flax parameters as our tree does.
    rules = [Rule(path.removeprefix(f"{TEXT}/"), path) for path in expected]
    loaded, _ = import_weights(flat, rules, [], expected)
    return traverse_util.unflatten_dict(loaded, sep="/")["params"]["text_encoder"]


def _read_config(name_or_folder: str) -> BertConfig:
    try:
        return BertConfig.from_pretrained(name_or_folder)
    except OSError as error:
        raise _not_found(name_or_folder, error) from error


def _read_params(name_or_folder: str, config: BertConfig) -> dict:
    """Returns the weights as transformers names them; absent ones are left out, not drawn."""
    kwargs = {"config": config, "add_pooling_layer": False, "_do_init": False}
    folder = pathlib.Path(name_or_folder)
    from_pt = folder.is_dir() and not any(
        (folder / name).is_file() for name in ("flax_model.msgpack", "model.safetensors")
    )
    try:
        if not from_pt:
            try:
                return FlaxBertModel.from_pretrained(name_or_folder, **kwargs)[1]
            except OSError as error:
                if "from_pt=True" not in str(error):
                    raise
        import_torch(f"reading the PyTorch weights of {name_or_folder}")
        return FlaxBertModel.from_pretrained(name_or_folder, from_pt=True, **kwargs)[1]
    except OSError as error:
        raise _not_found(name_or_folder, error) from error


def _check_config(name_or_folder: str, config: BertConfig, text: ml_collections.ConfigDict) -> None:
    """Compares config.json with what the model is built of."""
    differences = [
        f"  {key}: {getattr(config, key)} there, {text[key]} in config.model.text"
        for key in _SIZES
        if getattr(config, key) != text[key]
    ]
    differences += [
        f"  {key}: {getattr(config, key)!r} there, the text encoder is built with {value!r}"
        for key, value in _FIXED.items()
        if getattr(config, key) != value
    ]
    if differences:
        raise ValueError(
            f"{name_or_folder} does not fit the text encoder:\n" + "\n".join(differences) + "\n"
            "Set these keys of config.model.text to the values there, or name other weights."
        )


def _not_found(name_or_folder: str, error: OSError) -> ValueError:
    return ValueError(
        f"No BERT weights were read from {name_or_folder!r}: {str(error).splitlines()[0]} Give a "
        "hub name, or a folder with config.json and flax_model.msgpack, model.safetensors or "
        'pytorch_model.bin; or set model.text.pretrained = "" to start from scratch.'
    )


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silences notes about unused heads and about Flax; what matters is checked here."""
    logger = logging.getLogger("transformers.modeling_flax_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
