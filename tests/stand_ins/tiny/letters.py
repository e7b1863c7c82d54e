"""Phrases to letters: a tokenizer without a vocabulary of its own."""

import json
import pathlib
import string

import numpy as np

from rrsis_jax.data import tokenizers

LETTERS = f" {string.ascii_lowercase}{string.digits}"  # ids from 2 on, in this order
UNKNOWN = 1
FILE = "letters.json"


class Letters:
    """Maps each letter of a phrase to its number; see `data.inputs.Tokenizer`."""

    kind = "letters"

    def __init__(self, max_tokens: int, letters: str = LETTERS):
        self.max_tokens, self._letters = max_tokens, letters

    @property
    def vocab_size(self) -> int:
        return len(self._letters) + 2

    def __call__(self, phrase: str) -> dict[str, np.ndarray]:
        if not phrase.strip():
            raise ValueError(f"The phrase {phrase!r} is empty; say what to segment, like 'tree'.")
        ids = [self._letters.find(letter) + 2 for letter in phrase.lower()[: self.max_tokens]]
        padded = np.zeros(self.max_tokens, np.int32)
        padded[: len(ids)] = ids
        return {
            "input_ids": padded,  # `find` gives -1 for a letter that is not there, hence UNKNOWN
            "attention_mask": (np.arange(self.max_tokens) < len(ids)).astype(np.int32),
        }

    def cut_words(self, phrase: str) -> str:
        return phrase[self.max_tokens :].strip()

    def num_tokens(self, phrase: str) -> int:
        return len(phrase)

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        words = dict.fromkeys(phrase.split())
        return tuple(word for word in words if not set(word.lower()) & set(self._letters))

    def save(self, folder: pathlib.Path | str) -> None:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        (pathlib.Path(folder) / FILE).write_text(json.dumps(self._letters))


def load(folder: str, max_tokens: int) -> Letters:
    """Loads what `Letters.save` wrote."""
    return Letters(max_tokens, json.loads((pathlib.Path(folder) / FILE).read_text()))


tokenizers.LOADERS[Letters.kind] = load
