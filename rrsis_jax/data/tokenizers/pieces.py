"""Phrases to token ids by pieces of words, as SentencePiece cuts them: SigLIP, Gemma, BEiT-3.

A phrase is brought into its style's form and cut into pieces. It ends in the style's last token,
also where it was too long, and is padded to `max_tokens`.
"""

import dataclasses
import os
import pathlib
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # phrases are short, threads only warn

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from rrsis_jax import errors, hub_address
from rrsis_jax.weights import hub

UNKNOWN = "<unk>"
SPACE = "▁"  # SentencePiece's mark of the beginning of a word
LETTERS = string.ascii_lowercase + string.digits  # every trained vocabulary can spell with these
_JSON = "tokenizer.json"  # of the library
_WORDS_FILE = "training_words.txt"  # one a line, beside a vocabulary that was trained here
# In the order in which they are looked for; all others are SentencePiece's.
_FILES = (_JSON, "spiece.model", "sentencepiece.bpe.model", "beit3.spm")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclasses.dataclass(frozen=True)
class Style:
    """How a published text encoder wants its phrases.

    Attributes:
      end: the last token.
      pad: what stands behind it.
      start: the first token; "" for none.
      lower: whether letters are made small.
      punctuation: whether it is kept.
      hears_unknown: whether an unknown piece counts as a token; if not, the mask leaves it out.
      first: tokens that come before the pieces of a SentencePiece file in place of its first three.
    """

    end: str
    pad: str
    start: str = ""
    lower: bool = True
    punctuation: bool = True
    hears_unknown: bool = True
    first: tuple[str, ...] = ()

    @property
    def specials(self) -> tuple[str, ...]:
        """All special tokens, each once."""
        return tuple(dict.fromkeys([self.pad, self.end, UNKNOWN, *filter(None, [self.start])]))

    def form(self, word: str) -> str:
        """Returns a word as the vocabulary is asked for it; "" if nothing is left of it."""
        word = word.lower() if self.lower else word
        return word if self.punctuation else word.translate(_PUNCTUATION)


# By the names under which `data.tokenizers` finds them again.
STYLES: Mapping[str, Style] = {
    "siglip": Style(end="</s>", pad="</s>", punctuation=False),
    "gemma": Style(end="<eos>", pad="<pad>"),
    # XLM-RoBERTa's ids; padded with the unknown one, so that the mask hides unknown pieces as well.
    "beit3": Style(
        end="</s>",
        pad=UNKNOWN,
        start="<s>",
        lower=False,
        hears_unknown=False,
        first=("<s>", "<pad>", "</s>", UNKNOWN),
    ),
}


class PieceTokenizer:
    """Maps phrases to fixed-length ids and masks; see `data.inputs.Tokenizer`.

    Attributes:
      max_tokens: ids that a phrase becomes; what is beyond them is cut.
      kind: one of `STYLES`.
    """

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        max_tokens: int,
        kind: str,
        training_words: Iterable[str] = (),
    ):
        """Wraps a tokenizer.

        Args:
          tokenizer: of the library; its own special tokens are not used.
          max_tokens: ids that a phrase becomes.
          kind: one of `STYLES`.
          training_words: all words of the phrases that the vocabulary was trained on, in the
            style's form; none if it came from elsewhere.

        Raises:
          ValueError: if the vocabulary lacks a token of the style.
        """
        self._tokenizer = tokenizer
        self._style = STYLES[kind]
        self._ids = {name: tokenizer.token_to_id(name) for name in self._style.specials}
        self._training_words = frozenset(training_words)
        self.max_tokens = max_tokens
        self.kind = kind
        missing = [name for name, number in self._ids.items() if number is None]
        if missing:
            raise ValueError(f"the vocabulary has no {errors.listing(missing)}, which {kind} needs")

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def __call__(self, phrase: str) -> dict[str, np.ndarray]:
        """Returns `input_ids` and `attention_mask`, int32 (max_tokens,), 1 on real tokens.

        Raises:
          ValueError: if the phrase has no word.
        """
        style = self._style
        start = [self._ids[style.start]] if style.start else []
        pieces = self._encode(phrase)[0].ids[: self.max_tokens - len(start) - 1]
        encoded = [*start, *pieces, self._ids[style.end]]
        ids = np.full(self.max_tokens, self._ids[style.pad], np.int32)
        ids[: len(encoded)] = encoded
        mask = (np.arange(self.max_tokens) < len(encoded)).astype(np.int32)
        if not style.hears_unknown:
            mask[ids == self._ids[UNKNOWN]] = 0
        return {"input_ids": ids, "attention_mask": mask}

    def num_tokens(self, phrase: str) -> int:
        """Returns how many tokens a phrase has before it is cut, first and last included.

        Raises:
          ValueError: if the phrase has no word.
        """
        return len(self._encode(phrase)[0].ids) + self._num_ends

    def cut_words(self, phrase: str) -> str:
        """Returns the end of a phrase that does not fit into `max_tokens`; "" if all fits.

        Raises:
          ValueError: if the phrase has no word.
        """
        room = self.max_tokens - self._num_ends
        for word, pieces in self._words(phrase):
            if pieces and pieces[-1] >= room:
                return phrase[word.start() :].strip()
        return ""

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns the words of a phrase that mean nothing to the vocabulary, each once, in order.

        A word counts as unread that has an unknown piece; and with a vocabulary trained by `train`
        also one that no training phrase had and that is spelled out letter by letter.

        Raises:
          ValueError: if the phrase has no word.
        """
        tokens = self._encode(phrase)[0].tokens
        unknown, unread = self._tokenizer.token_to_id(UNKNOWN), []
        for word, places in self._words(phrase):
            pieces = [tokens[place] for place in places]
            spelled = all(len(piece.lstrip(SPACE)) <= 1 for piece in pieces)
            form = self._style.form(word.group())
            new = bool(self._training_words) and form not in self._training_words
            if unknown in map(self._tokenizer.token_to_id, pieces) or (spelled and new):
                unread.append(word.group())
        return tuple(dict.fromkeys(unread))

    def save(self, folder: pathlib.Path | str) -> None:
        """Writes the tokenizer to `folder` for `load`."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._tokenizer.save(str(folder / _JSON))
        if self._training_words:
            words = "".join(f"{word}\n" for word in sorted(self._training_words))
            (folder / _WORDS_FILE).write_text(words, encoding="utf-8")

    @property
    def _num_ends(self) -> int:
        return 1 + bool(self._style.start)

    def _encode(self, phrase: str) -> tuple[tokenizers.Encoding, list[re.Match[str]], list[int]]:
        """Returns the pieces of a phrase, its words, and where each of them ends in its form."""
        words, text, ends = [], "", []
        for word in re.finditer(r"\S+", phrase):
            form = self._style.form(word.group())
            if form:
                text += f" {form}" if text else form
                words.append(word)
                ends.append(len(text))
        if not words:
            raise ValueError(f"The phrase {phrase!r} is empty; say what to segment, like 'tree'.")
        return self._tokenizer.encode(text, add_special_tokens=False), words, ends

    def _words(self, phrase: str) -> Iterator[tuple[re.Match[str], list[int]]]:
        """Yields each word with the places of its pieces."""
        encoded, words, ends = self._encode(phrase)
        places: list[list[int]] = [[] for _ in words]
        for place, (start, end) in enumerate(encoded.offsets):
            inside = max(start, end - 1)  # a piece may begin with the blank before its word
            number = next((n for n, last in enumerate(ends) if inside < last), len(ends) - 1)
            places[number].append(place)
        yield from zip(words, places, strict=True)


def load(source: str, max_tokens: int, kind: str) -> PieceTokenizer:
    """Loads a tokenizer.

    Args:
      source: a folder, hf://owner/name[@revision][/path] or "owner/name" of the hub, that holds a
        tokenizer.json or a SentencePiece file of the unigram kind.
      max_tokens: ids that a phrase becomes.
      kind: one of `STYLES`.

    Raises:
      ValueError: if there is none, or it cannot be read.
    """
    path = _find(source)
    try:
        words = path.parent / _WORDS_FILE
        lines = words.read_text(encoding="utf-8").split() if words.is_file() else ()
        loaded = PieceTokenizer(_read(path, STYLES[kind]), max_tokens, kind, lines)
        loaded("tree")
    except Exception as error:  # the libraries raise many types on damaged files
        raise ValueError(
            f"{path} is no tokenizer of {kind}'s kind: {errors.first_line(error):.200}. Fetch it "
            "anew, or set data.tokenizer to a folder or an address of the hub that holds one."
        ) from error
    return loaded


def train(phrases: Iterable[str], vocab_size: int, max_tokens: int, kind: str) -> PieceTokenizer:
    """Makes a vocabulary of the words of `phrases`, which depends on their set only.

    Single letters and digits are in it too, so that any other word can be spelled; only other
    scripts' become unknown. Of too many words those of the most phrases are taken.

    Args:
      phrases: with the words to be known.
      vocab_size: entries at most; exceeded only where the special tokens and the single characters
        alone are more.
      max_tokens: ids that a phrase becomes.
      kind: one of `STYLES`.
    """
    style = STYLES[kind]
    counts: Counter[str] = Counter()
    for phrase in set(phrases):
        counts.update({form for word in phrase.split() if (form := style.form(word))})
    punctuation = string.punctuation if style.punctuation else ""
    letters = sorted({SPACE, *LETTERS, *punctuation}.union(*counts))
    room = max(vocab_size - len(style.specials) - len(letters), 0)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:room]
    # A whole word is likelier than any spelling of it.
    scores = {**dict.fromkeys(letters, -10.0), **dict.fromkeys((SPACE + w for w in words), -1.0)}
    vocabulary = [*((name, 0.0) for name in style.specials), *scores.items()]
    tokenizer = _unigram(vocabulary, style.specials.index(UNKNOWN))
    return PieceTokenizer(tokenizer, max_tokens, kind, counts)


def _unigram(vocabulary: list[tuple[str, float]], unknown: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocabulary, unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    return tokenizer


def _find(source: str) -> pathlib.Path:
    """Returns the file of a tokenizer in a folder, or brought from the hub."""
    if hub_address.is_address(source) or hub_address.is_repo(source):
        address = hub_address.parse(f"hf://{source.removeprefix(hub_address.SCHEME)}")
        snapshot = hub.look(address)
        prefix = f"{address.path}/" if address.path else ""
        held = [prefix + name for name in _FILES if prefix + name in snapshot.names]
        if held:
            return hub.download(snapshot, held[:1]) / held[0]
    held = [path for name in _FILES if (path := pathlib.Path(source) / name).is_file()]
    if not held:
        raise ValueError(
            f"There is no tokenizer at {source!r}: expected a folder or an address of the hub, "
            f"{hub_address.FORM}, with one of {', '.join(_FILES)}. Set data.tokenizer to one."
        )
    return held[0]


def _read(path: pathlib.Path, style: Style) -> tokenizers.Tokenizer:
    """Reads the library's own file, or SentencePiece's of the unigram kind."""
    if path.name == _JSON:
        return tokenizers.Tokenizer.from_file(str(path))
    proto: Any = vars(sentencepiece)["ModelProto"]()  # a class that is made on import
    proto.ParseFromString(path.read_bytes())
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
        raise ValueError(
            f"a SentencePiece model of another kind than unigram is read from a {_JSON} only"
        )
    pieces = [(piece.piece, piece.score) for piece in proto.pieces]
    if style.first:
        pieces = [*((name, 0.0) for name in style.first), *pieces[3:]]
    tokenizer = _unigram(pieces, [name for name, _ in pieces].index(UNKNOWN))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    blanks = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    form = [normalizers.Precompiled(charsmap)] if charsmap else []
    tokenizer.normalizer = normalizers.Sequence([*form, blanks])
    return tokenizer
