"""The tokenizer of SigLIP's text tower, and of others that lie beside an encoder's weights."""

import pathlib
from collections.abc import Iterable

import ml_collections

from rrsis_jax import hub_address
from rrsis_jax.data.inputs import Tokenizer
from rrsis_jax.data.tokenizers import pieces


def tokenizer(
    config: ml_collections.ConfigDict,
    kind: str,
    source: str,
    phrases: Iterable[str],
    section: str = "siglip",
) -> Tokenizer:
    """Returns the tokenizer for `contract.Model.tokenizer`.

    Args:
      config: the section of the encoder, as `model.siglip`.
      kind: "siglip", "gemma" of SigLIP 2, or "beit3".
      source: folder or address of the hub; "" for what lies beside the pretrained weights or, where
        there are none, a vocabulary of the words of `phrases`.
      phrases: the training split's.
      section: the section's name.

    Raises:
      ValueError: if it is not to be had, or has more ids than the token table has rows.
    """
    source = source or folder_of(config.pretrained)
    made = (
        pieces.load(source, config.max_tokens, kind)
        if source
        else pieces.train(phrases, config.vocab_size, config.max_tokens, kind)
    )
    if made.vocab_size > config.vocab_size:
        raise ValueError(
            f"The tokenizer has {made.vocab_size} ids, model.{section}.vocab_size is "
            f"{config.vocab_size}. Set it to at least {made.vocab_size}."
        )
    return made


def folder_of(weights: str) -> str:
    """Returns the folder, or address of one, that a file of weights lies in."""
    if hub_address.is_address(weights):
        address = hub_address.parse(weights)
        inside = pathlib.PurePosixPath(address.path)
        return weights.rpartition("/")[0] if inside.suffix else weights
    return str(pathlib.Path(weights).parent) if pathlib.Path(weights).is_file() else weights
