"""Phrases to tokens: one module a kind of tokenizer, loaded by its name."""

import functools
import pathlib
from collections.abc import Callable, Mapping

from rrsis_jax.data.inputs import Tokenizer
from rrsis_jax.data.tokenizers import pieces, word_masked, wordpiece

# (folder that `Tokenizer.save` wrote, max_tokens) → the tokenizer, by `Tokenizer.kind`.
LOADERS: dict[str, Callable[[str, int], Tokenizer]] = {
    "wordpiece": wordpiece.load,
    "wordpiece_with_end": lambda *args: wordpiece.load(*args).keeping_end(),
    "word_masks": word_masked.load,
    **{kind: functools.partial(pieces.load, kind=kind) for kind in pieces.STYLES},
}


def described(tokenizer: Tokenizer) -> dict[str, str | int]:
    """Returns what `load` needs beside the folder of a saved tokenizer."""
    return {"kind": tokenizer.kind, "max_tokens": tokenizer.max_tokens}


def load(folder: pathlib.Path | str, description: Mapping[str, str | int]) -> Tokenizer:
    """Loads a saved tokenizer.

    Args:
      folder: that `Tokenizer.save` wrote.
      description: made by `described`.

    Raises:
      ValueError: if the kind is not known, or the folder does not hold one.
    """
    kind = description.get("kind")
    if kind not in LOADERS:
        raise ValueError(
            f"{folder} holds a tokenizer of the kind {kind!r:.40}; known are "
            f"{', '.join(sorted(LOADERS))}. Install the version that wrote it."
        )
    return LOADERS[kind](str(folder), int(description["max_tokens"]))
