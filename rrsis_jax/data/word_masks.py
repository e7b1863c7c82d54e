"""Which words of a phrase name its object, and which its place (FIANet's three readings).

The rules are those of FIANet's published data loader, quirks included: a mask's position is the
number of the word plus one for [CLS], whatever pieces the words before it become; only the first
occurrence of a class or preposition counts; and a class counts wherever its letters stand, so
"tree" is in "street". `MaskRules` has the sane switches.

The published loader asks a trained tagger for the parts of speech. `tag` is a small rule for the
field's phrases instead; any function from words to Penn tags can take its place.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

Tagger = Callable[[Sequence[str]], list[str]]

NAMES = ("object_mask", "position_mask")

# fmt: off
_PREPOSITIONS = frozenset((
    "above", "across", "along", "alongside", "among", "around", "at", "behind", "below", "beneath",
    "beside", "between", "beyond", "by", "from", "in", "inside", "into", "near", "of", "off", "on",
    "onto", "outside", "over", "through", "toward", "towards", "under", "upon", "with", "within",
    "without",
))
_DETERMINERS = frozenset((
    "a", "all", "an", "another", "any", "both", "each", "every", "some", "that", "the", "these",
    "this", "those",
))
_COMPARATIVES = frozenset(("bigger", "larger", "longer", "lower", "shorter", "smaller", "wider"))
_ADJECTIVES = frozenset((
    "big", "black", "blue", "bright", "brown", "circular", "dark", "dense", "empty", "gray",
    "green", "grey", "heavy-duty", "huge", "impervious", "large", "light", "light-duty", "little",
    "long", "low", "medium", "narrow", "old", "orange", "oval", "pink", "purple", "rectangular",
    "red", "round", "short", "small", "square", "tall", "tiny", "upper", "vertical", "white",
    "wide", "yellow",
))
_ING_NOUNS = frozenset(("building", "crossing", "landing", "marking", "parking"))
_OTHER = {
    "and": "CC", "or": "CC", "but": "CC", "to": "TO", "is": "VBZ", "has": "VBZ", "are": "VBP",
    "have": "VBP", "was": "VBD", "were": "VBD", "which": "WDT", "not": "RB",
}
# fmt: on
_SYMBOLS = {"IN": "I", "DT": "D", "JJ": "J", "JJR": "A", "JJS": "A", "NN": "N", "VBD": "V"}
_CHUNKS = tuple(map(re.compile, ("ID?[JA]?N", "ID?[JA]?J", "ID?[JA]V")))


@dataclasses.dataclass(frozen=True)
class MaskRules:
    """How the words of a phrase's object and of its place are recognised and marked.

    Attributes:
      classes: names that objects go by.
      tagger: of parts of speech, one of `TAGGERS`.
      whole_words: whether a class must be a word of the phrase (or its plural), not letters in it.
      all_pieces: whether the tokens of a word are marked, wherever they are; else those with the
        numbers of the words.
      object_with_ends: whether the object's words are read with [CLS] and [SEP], so that an object
        of one word says something too.
    """

    classes: Sequence[str]
    tagger: str = "rules"
    whole_words: bool = False
    all_pieces: bool = False
    object_with_ends: bool = False


def words_of(phrase: str) -> list[str]:
    """Returns a phrase's words; hyphens stay inside them, other punctuation stands alone."""
    return re.findall(r"\w+(?:[-']\w+)*|[^\w\s]", phrase)


def tag(words: Sequence[str]) -> list[str]:
    """Returns a Penn part-of-speech tag for each word, by lists and endings.

    "left" is taken as trained taggers take it: for a participle after a determiner at the end of
    a phrase, for an adjective after an adjective there, and for a noun elsewhere.
    """
    tags: list[str] = []
    for index, word in enumerate(words):
        before = tags[-1] if tags else ""
        tags.append(_tag_of(word.lower(), before, last=index == len(words) - 1))
    return tags


def _tag_of(word: str, before: str, last: bool) -> str:
    if word in _OTHER:
        return _OTHER[word]
    if word == "left" and last and before in ("DT", "JJ"):
        return {"DT": "VBN", "JJ": "JJ"}[before]
    lists = {"IN": _PREPOSITIONS, "DT": _DETERMINERS, "JJR": _COMPARATIVES, "JJ": _ADJECTIVES}
    for name, members in lists.items():
        if word in members:
            return name
    if word.isdigit():
        return "CD"
    if word.endswith("ing") and word not in _ING_NOUNS:
        return "VBG"
    if word.endswith("ed"):
        return "VBN"
    plural = word.endswith("s") and not word.endswith(("ss", "us"))
    return "NNS" if plural else "NN"


TAGGERS: Mapping[str, Tagger] = {"rules": tag}
"""From words to Penn tags, by the names that configurations use."""


def tagger_of(name: str) -> Tagger:
    """Returns a tagger by its name.

    Raises:
      ValueError: if there is none of this name.
    """
    if name not in TAGGERS:
        raise ValueError(
            f"There is no tagger of words {name!r:.40}; known are {', '.join(sorted(TAGGERS))}. "
            "With another one make the masks yourself and give them to the tokenizer."
        )
    return TAGGERS[name]


def position_phrases(words: Sequence[str], tags: Sequence[str]) -> list[tuple[int, int]]:
    """Returns first word and length of each phrase that says a place, in order.

    A phrase is a preposition, perhaps a determiner and an adjective, and a noun; else with an
    adjective for the noun; else with adjective and past tense. One with the letters "of" in it
    does not count, which drops "with a grey roof" too.
    """
    symbols = "".join(_SYMBOLS.get(name, "-") for name in tags)
    spans = []
    for pattern in _CHUNKS:
        for match in pattern.finditer(symbols):
            spans.append((match.start(), len(match[0])))
        symbols = pattern.sub(lambda match: "-" * len(match[0]), symbols)
    return [
        (start, length)
        for start, length in sorted(spans)
        if "of" not in " ".join(words[start : start + length])
    ]


def word_masks(
    phrase: str,
    classes: Sequence[str],
    attention_mask: np.ndarray,
    *,
    tagger: Tagger = tag,
    whole_words: bool = False,
    piece_counts: Sequence[int] | None = None,
    object_with_ends: bool = False,
) -> dict[str, np.ndarray]:
    """Returns the masks of a phrase's object and of its place.

    Args:
      phrase: as it stands in the dataset.
      classes: names that objects go by.
      attention_mask: int (N,), 1 on the phrase's tokens, [CLS] and [SEP] included.
      tagger: from words to Penn tags.
      whole_words: whether a class must be a word of the phrase (or its plural), not letters in it.
      piece_counts: tokens that each word becomes; None takes one for each.
      object_with_ends: whether the first and the last token are marked with the object's words.

    Returns:
      `NAMES`, int32 (N,) each. The first is zero where no class is named, the second is the
      attention mask where no place is said. What lies beyond N is cut.
    """
    words = words_of(phrase)
    named = _class_spans(phrase, words, classes, whole_words)
    # The first word that equals the phrase's own, so a second "on" marks the first one's words.
    places = [
        (words.index(words[start]), length)
        for start, length in position_phrases(words, tagger(words))
    ]
    length = len(attention_mask)
    object_mask = _marked(named, length, piece_counts)
    position_mask = _marked(places, length, piece_counts)
    if object_with_ends:
        object_mask[[0, np.flatnonzero(attention_mask)[-1]]] = 1
    if not position_mask.any():
        position_mask = np.asarray(attention_mask, np.int32)
    return {"object_mask": object_mask, "position_mask": position_mask}


def check_ready_mask(name: str, mask: ArrayLike, length: int) -> np.ndarray:
    """Returns a mask that came from outside as int32 (N,).

    Raises:
      ValueError: if its length or its values are not a mask's.
    """
    mask = np.asarray(mask)
    if mask.shape != (length,):
        raise ValueError(
            f"The word mask {name} has shape {mask.shape}, but phrases have {length} token "
            f"positions; give one number for each."
        )
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"The word mask {name} holds other values than 0 and 1; mark words by 1, all else by 0."
        )
    return mask.astype(np.int32)


def _class_spans(
    phrase: str, words: Sequence[str], classes: Sequence[str], whole_words: bool
) -> list[tuple[int, int]]:
    """Returns first word and length of each class that the phrase names."""
    spans = []
    for name in classes:
        parts = name.split()
        if whole_words:
            starts = range(len(words) - len(parts) + 1)
            hits = [i for i in starts if _same_words(words[i : i + len(parts)], parts)]
        elif name in phrase:
            hits = [i for i, word in enumerate(words) if parts[0] in word] or [0]
        else:
            hits = []
        spans += [(start, len(parts)) for start in hits[:1]]
    return spans


def _same_words(words: Sequence[str], parts: Sequence[str]) -> bool:
    joined, name = " ".join(words).lower(), " ".join(parts)
    return joined in (name, f"{name}s", f"{name}es")


def _marked(
    spans: Sequence[tuple[int, int]], length: int, piece_counts: Sequence[int] | None
) -> np.ndarray:
    """Returns int32 (length,) with 1 on the tokens of the words of each span."""
    mask = np.zeros(length, np.int32)
    for start, count in spans:
        if piece_counts is None:
            first, last = start + 1, start + count + 1
        else:
            first = 1 + sum(piece_counts[:start])
            last = first + sum(piece_counts[start : start + count])
        mask[first:last] = 1
    return mask
