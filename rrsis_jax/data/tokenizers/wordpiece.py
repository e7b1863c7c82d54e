"""Phrases to token ids, by BERT's WordPiece tokenizer.

Ids are padded with 0 to `max_tokens` and cut by slicing, so a phrase that is too long loses its
[SEP]: this is what the reference does.
"""

import os
import pathlib
from collections.abc import Iterable

import numpy as np

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # phrases are short, threads only warn

import tokenizers
import transformers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class PhraseTokenizer:
    """Maps phrases to fixed-length ids and masks."""

    def __init__(self, tokenizer: transformers.BertTokenizerFast, max_tokens: int):
        """Wraps a tokenizer whose padding id is 0."""
        self._tokenizer = tokenizer
        self.max_tokens = max_tokens

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return len(self._tokenizer)

    def __call__(self, phrase: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns int32 (max_tokens,) ids and int32 (max_tokens,) mask, 1 on real tokens.

        Raises:
          ValueError: if the phrase has no word.
        """
        if not phrase.strip():
            raise ValueError(f"The phrase {phrase!r} is empty; say what to segment, like 'tree'.")
        found = self._tokenizer(phrase, verbose=False)["input_ids"][: self.max_tokens]
        ids = np.zeros(self.max_tokens, np.int32)
        ids[: len(found)] = found
        mask = np.zeros(self.max_tokens, np.int32)
        mask[: len(found)] = 1
        return ids, mask

    def save(self, folder: pathlib.Path | str) -> None:
        """Writes the tokenizer to `folder` for `load`."""
        self._tokenizer.save_pretrained(str(folder))


def load(name_or_folder: str, max_tokens: int) -> PhraseTokenizer:
    """Loads a tokenizer from a hub name or a local folder.

    Raises:
      ValueError: if neither is to be had.
    """
    try:
        tokenizer = transformers.BertTokenizerFast.from_pretrained(name_or_folder)
        PhraseTokenizer(tokenizer, max_tokens)("tree")
        if max(tokenizer.get_vocab().values()) >= len(tokenizer):
            raise ValueError("ids go beyond the size of the vocabulary")
    except Exception as error:  # transformers and tokenizers raise many types on damaged files
        raise ValueError(
            f"No tokenizer was found at {name_or_folder!r}: it is neither a folder holding a "
            "whole tokenizer.json or vocab.txt, nor a model that the Hugging Face hub could "
            f"deliver now ({(str(error).splitlines() or [type(error).__name__])[0]:.200}). Set "
            "data.tokenizer to a folder, or model.text.pretrained to '' to train a vocabulary on "
            "the training phrases."
        ) from error
    return PhraseTokenizer(tokenizer, max_tokens)


def train(phrases: Iterable[str], vocab_size: int, max_tokens: int) -> PhraseTokenizer:
    """Trains a WordPiece vocabulary of at most `vocab_size` entries on `phrases`.

    The vocabulary depends on the set of phrases only.
    """
    texts = sorted({phrase.lower() for phrase in phrases})
    # The library numbers word-inner characters in the order of a hash table and breaks ties of
    # its merges by number; naming them here first makes the outcome repeatable.
    inner = sorted({f"##{letter}" for text in texts for letter in text if not letter.isspace()})
    trainer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(
        texts,
        vocab_size=max(vocab_size, len(SPECIAL_TOKENS) + len(inner)),
        min_frequency=1,
        special_tokens=[*SPECIAL_TOKENS, *inner],
        show_progress=False,
    )
    vocabulary = tokenizers.BertWordPieceTokenizer(vocab=trainer.get_vocab(), lowercase=True)
    tokenizer = transformers.BertTokenizerFast(tokenizer_object=vocabulary._tokenizer)
    return PhraseTokenizer(tokenizer, max_tokens)
