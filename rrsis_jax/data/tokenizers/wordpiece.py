"""Phrases to token ids, by BERT's WordPiece tokenizer.

Ids are padded with 0 to `max_tokens` and cut by slicing, so a phrase that is too long loses its
[SEP]: this is what LAVT's code and its successors do. AeroReformer keeps [SEP], see `keeping_end`.
"""

import os
import pathlib
import string
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # phrases are short, threads only warn

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN, START, END = (SPECIAL_TOKENS[i] for i in (1, 2, 3))
LETTERS = string.ascii_lowercase + string.digits  # every trained vocabulary can spell with these
PUNCTUATION = "!\"#%&'()*+,-./:;?"
KINDS = ("wordpiece", "wordpiece_with_end")  # by which `data.tokenizers` finds them again
INNER = "##"  # starts a piece that continues a word
_WORDS_FILE = "training_words.txt"  # one a line, beside a tokenizer that was trained here


class PhraseTokenizer:
    """Maps phrases to fixed-length ids and masks, and says what of them it cannot read.

    Attributes:
      max_tokens: ids that a phrase becomes; what is beyond them is cut.
      kind: one of `KINDS`.
    """

    def __init__(
        self,
        tokenizer: transformers.BertTokenizerFast,
        max_tokens: int,
        training_words: Iterable[str] = (),
        keep_end: bool = False,
    ):
        """Wraps a tokenizer.

        Args:
          tokenizer: whose padding id is 0.
          max_tokens: ids that a phrase becomes.
          training_words: all words of the phrases that the vocabulary was trained on; none if it
            came from elsewhere.
          keep_end: whether [SEP] takes the last place of a phrase that is cut.
        """
        self._tokenizer = tokenizer
        self._training_words = frozenset(training_words)
        self._keep_end = keep_end
        self.max_tokens = max_tokens
        self.kind = KINDS[keep_end]

    def keeping_end(self) -> "PhraseTokenizer":
        """Returns the same tokenizer, whose cut phrases end in [SEP]."""
        return PhraseTokenizer(
            self._tokenizer, self.max_tokens, self._training_words, keep_end=True
        )

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return len(self._tokenizer)

    def __call__(self, phrase: str) -> dict[str, np.ndarray]:
        """Returns `input_ids` and `attention_mask`, int32 (max_tokens,), 1 on real tokens.

        Raises:
          ValueError: if the phrase has no word.
        """
        encoded = self._ids(phrase)
        end = encoded[-1:] if self._keep_end else []
        if len(encoded) > self.max_tokens:
            encoded = encoded[: self.max_tokens - len(end)] + end
        ids = np.zeros(self.max_tokens, np.int32)
        ids[: len(encoded)] = encoded
        mask = np.zeros(self.max_tokens, np.int32)
        mask[: len(encoded)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def num_tokens(self, phrase: str) -> int:
        """Returns how many tokens a phrase has before it is cut, [CLS] and [SEP] included.

        Raises:
          ValueError: if the phrase has no word.
        """
        return len(self._ids(phrase))

    def cut_words(self, phrase: str) -> str:
        """Returns the end of a phrase that does not fit into `max_tokens`; "" if all fits.

        Raises:
          ValueError: if the phrase has no word.
        """
        for start, _, first, pieces in self._words(phrase):
            if first + len(pieces) > self.max_tokens - self._keep_end:
                return phrase[start:].strip()
        return ""

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns the words of a phrase that mean nothing to the vocabulary, each once, in order.

        A word counts as unread that becomes [UNK]; and with a vocabulary trained by `train` also
        one that no training phrase had and that is spelled out letter by letter. "buildings" is
        read where "building" was trained: its pieces are "building" and "s". Punctuation is no
        word unless it becomes [UNK].

        Raises:
          ValueError: if the phrase has no word.
        """
        unread = []
        for start, end, _, pieces in self._words(phrase):
            word = phrase[start:end]
            spelled = word.isalnum() and all(len(p.removeprefix(INNER)) == 1 for p in pieces)
            new = bool(self._training_words) and self._training_words.isdisjoint(_split(word))
            if UNKNOWN in pieces or (spelled and new):
                unread.append(word)
        return tuple(dict.fromkeys(unread))

    def save(self, folder: pathlib.Path | str) -> None:
        """Writes the tokenizer to `folder` for `load`."""
        self._tokenizer.save_pretrained(str(folder))
        if self._training_words:
            words = "".join(f"{word}\n" for word in sorted(self._training_words))
            (pathlib.Path(folder) / _WORDS_FILE).write_text(words, encoding="utf-8")

    def _encode(self, phrase: str) -> transformers.BatchEncoding:
        if not phrase.strip():
            raise ValueError(f"The phrase {phrase!r} is empty; say what to segment, like 'tree'.")
        return self._tokenizer(phrase, verbose=False)

    def _ids(self, phrase: str) -> list[int]:
        ids: Any = self._encode(phrase)["input_ids"]  # transformers says that it may be anything
        return ids

    def _words(self, phrase: str) -> Iterator[tuple[int, int, int, list[str]]]:
        """Yields each word's start and end in the phrase, its first token's place, its pieces."""
        encoded = self._encode(phrase)
        places: dict[int, list[int]] = {}
        for place, word in enumerate(encoded.word_ids()):
            if word is not None:  # [CLS] and [SEP] belong to none
                places.setdefault(word, []).append(place)
        tokens = encoded.tokens()
        for word, at in places.items():
            span = encoded.word_to_chars(word)
            yield span.start, span.end, at[0], [tokens[place] for place in at]


def load(name_or_folder: str, max_tokens: int) -> PhraseTokenizer:
    """Loads a tokenizer from a hub name or a local folder.

    Raises:
      ValueError: if neither is to be had.
    """
    try:
        tokenizer = transformers.BertTokenizerFast.from_pretrained(name_or_folder)
        words = pathlib.Path(name_or_folder) / _WORDS_FILE
        lines = words.read_text(encoding="utf-8").split() if words.is_file() else ()
        loaded = PhraseTokenizer(tokenizer, max_tokens, lines)
        loaded("tree")
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
    return loaded


def train(phrases: Iterable[str], vocab_size: int, max_tokens: int) -> PhraseTokenizer:
    """Trains a WordPiece vocabulary on `phrases`, which depends on their set only.

    It covers letters, digits and common punctuation whatever the phrases are, so that words they
    do not have become different ids; only other scripts' become [UNK].

    Args:
      phrases: with the words to be known.
      vocab_size: entries at most; exceeded only where the special tokens and the single characters
        alone are more.
      max_tokens: ids that a phrase becomes.
    """
    words = sorted({word for phrase in phrases for word in _split(phrase)})
    # The library numbers characters in the order of a hash table and breaks ties of its merges by
    # number; naming them here first makes the outcome repeatable.
    seen = set().union(*words)
    alphabet = sorted(seen.union(LETTERS, PUNCTUATION))
    inner = sorted(seen.union(LETTERS).difference(PUNCTUATION))
    named = [*SPECIAL_TOKENS, *alphabet, *(f"{INNER}{letter}" for letter in inner)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(vocab_size, len(named)),
        min_frequency=1,
        special_tokens=named,
        continuing_subword_prefix=INNER,
        show_progress=False,
    )
    scratch = _bert_like(models.WordPiece(unk_token=UNKNOWN))
    scratch.train_from_iterator(words, trainer)
    vocabulary = scratch.get_vocab(with_added_tokens=False)
    tokenizer = _bert_like(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.post_processor = processors.BertProcessing(
        (END, vocabulary[END]), (START, vocabulary[START])
    )
    tokenizer.decoder = decoders.WordPiece(prefix=INNER)
    fast = transformers.BertTokenizerFast(tokenizer_object=tokenizer)
    return PhraseTokenizer(fast, max_tokens, words)


def _bert_like(model: models.Model) -> tokenizers.Tokenizer:
    """Returns a tokenizer that cuts phrases into words as BERT's uncased one does."""
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _split(phrase: str) -> list[str]:
    """Returns the words of a phrase, lower-cased and without accents; punctuation is words too."""
    normal = normalizers.BertNormalizer(lowercase=True).normalize_str(phrase)
    return [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normal)]
