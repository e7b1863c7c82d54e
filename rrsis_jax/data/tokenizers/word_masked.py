"""Phrases to token ids with marks on the words of their object and of their place (FIANet).

The ids are another tokenizer's. The marks are made by rule, see `data.word_masks`, or were made
elsewhere, for each phrase; both are stored beside the vocabulary:

    words = wordpiece.load("bert-base-uncased", max_tokens=20)
    ready = {"red car": {"object_mask": [0, 0, 1, ...], "position_mask": [...]}}
    WordMaskTokenizer(words, MaskRules(["car", "road"]), ready).save(folder)

and `--config.data.tokenizer=folder` trains with them.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from rrsis_jax import io
from rrsis_jax.data import word_masks
from rrsis_jax.data.inputs import Tokenizer
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.data.word_masks import MaskRules

ReadyMasks = Mapping[str, Mapping[str, Sequence[int]]]  # phrase → name in NAMES → 0 or 1 a token
_FILE = "word_masks.json"


class WordMaskTokenizer:
    """Maps phrases to ids and three masks of fixed length; see `data.inputs.Tokenizer`."""

    kind = "word_masks"

    def __init__(self, words: Tokenizer, rules: MaskRules, ready: ReadyMasks | None = None):
        """Wraps a tokenizer.

        Args:
          words: phrases to ids.
          rules: how masks are made.
          ready: masks of phrases for which none are made. Phrases that are not among them, as
            those of mirrored views, get masks by `rules`.

        Raises:
          ValueError: if the tagger is not known, or a ready mask is none of `words`.
        """
        self._words = words
        self._rules = rules
        self._tagger = word_masks.tagger_of(rules.tagger)
        self._ready = {
            phrase: _checked(phrase, masks, words.max_tokens)
            for phrase, masks in (ready or {}).items()
        }

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self._words.vocab_size

    @property
    def max_tokens(self) -> int:
        """Word positions N; longer phrases are cut, and so are their masks."""
        return self._words.max_tokens

    def __call__(self, phrase: str) -> dict[str, np.ndarray]:
        """Returns the ids and `attention_mask`, `object_mask`, `position_mask`, int32 (N,) each.

        Raises:
          ValueError: if the phrase has no word.
        """
        tokens = self._words(phrase)
        masks = self._ready.get(phrase)
        return tokens | (self._made(phrase, tokens["attention_mask"]) if masks is None else masks)

    def num_tokens(self, phrase: str) -> int:
        """Returns how many tokens a phrase has before it is cut."""
        return self._words.num_tokens(phrase)

    def cut_words(self, phrase: str) -> str:
        """Returns the end of a phrase that does not fit into `max_tokens`; "" if all fits."""
        return self._words.cut_words(phrase)

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns the words of a phrase that the vocabulary does not know."""
        return self._words.unread_words(phrase)

    def save(self, folder: pathlib.Path | str) -> None:
        """Writes vocabulary, rules and ready masks to a folder for `load`."""
        self._words.save(folder)
        ready = {
            phrase: {name: mask.tolist() for name, mask in masks.items()}
            for phrase, masks in self._ready.items()
        }
        text = json.dumps({"rules": dataclasses.asdict(self._rules), "ready": ready}, indent=1)
        io.write_text(pathlib.Path(folder) / _FILE, text + "\n")

    def _made(self, phrase: str, attention_mask: np.ndarray) -> dict[str, np.ndarray]:
        rules, pieces = self._rules, None
        if rules.all_pieces:  # [CLS] and [SEP] stand around the pieces of a word alone
            pieces = [self._words.num_tokens(word) - 2 for word in word_masks.words_of(phrase)]
        return word_masks.word_masks(
            phrase,
            rules.classes,
            attention_mask,
            tagger=self._tagger,
            whole_words=rules.whole_words,
            piece_counts=pieces,
            object_with_ends=rules.object_with_ends,
        )


def load(folder: str, max_tokens: int) -> WordMaskTokenizer:
    """Loads what `WordMaskTokenizer.save` wrote.

    Raises:
      ValueError: if the folder does not hold it.
    """
    described = io.read_json(pathlib.Path(folder) / _FILE)
    try:
        rules = MaskRules(**described["rules"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{pathlib.Path(folder) / _FILE} holds no rules of word masks ({error}); write the "
            "folder anew."
        ) from error
    return WordMaskTokenizer(wordpiece.load(folder, max_tokens), rules, ready_in(folder))


def ready_in(source: str) -> ReadyMasks:
    """Returns the ready masks in a tokenizer's folder; none where there are none.

    Args:
      source: folder or hub name.

    Raises:
      ValueError: if the file with them cannot be read.
    """
    path = pathlib.Path(source) / _FILE
    if not (source and path.is_file()):
        return {}
    ready = io.read_json(path).get("ready", {})
    if not isinstance(ready, dict):
        raise ValueError(f"{path} has no phrases with their masks under 'ready'; write it anew.")
    return ready


def _checked(phrase: str, masks: Mapping[str, Sequence[int]], length: int) -> dict[str, np.ndarray]:
    """Returns the masks of a phrase as arrays."""
    names = sorted(masks) if isinstance(masks, Mapping) else masks
    if names != sorted(word_masks.NAMES):
        raise ValueError(
            f"The ready masks of {phrase!r:.80} are {names!r:.80}; give "
            f"{' and '.join(word_masks.NAMES)}, a number for each token."
        )
    return {
        name: word_masks.check_ready_mask(f"{name} of {phrase!r:.80}", masks[name], length)
        for name in word_masks.NAMES
    }
