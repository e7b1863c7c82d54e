"""From a referring phrase to the class it names: the head noun, not the scenery."""

import re

from tfds_referring import phrase_forms

CLASSES = (
    "road",
    "vehicle",
    "car",
    "van",
    "building",
    "truck",
    "trailer",
    "bus",
    "road marking",
    "bikeway",
    "sidewalk",
    "tree",
    "low vegetation",
    "impervious surface",
)
"""The 14 target classes of RefSegRS."""

CATEGORIES = (*CLASSES, "other")
"""Label names of the feature `category`."""
# fmt: on
_LONGEST_FIRST = sorted(CLASSES, key=lambda name: -len(name.split()))


def _singular(word: str) -> str:
    return {"buses": "bus", "bus": "bus", "impervious": word}.get(word, word.removesuffix("s"))


def _class_at_end(words: list[str]) -> str | None:
    for name in _LONGEST_FIRST:
        parts = name.split()
        if words[-len(parts) :] == parts:
            return name
    return None


def head_of(phrase: str) -> str:
    """Returns the kind of thing that a phrase is about, in any words.

    The words before the first preposition hold the head noun; what follows only places it
    ("vehicle driving on the road" is about a vehicle). Case, plural and hyphens do not matter.

    Args:
      phrase: a referring expression, e.g. "old oil tank near the harbour".

    Returns:
      The class of RefSegRS that the head ends in, else the head's last word ("tank"); a phrase
      without a head in lower case.
    """
    words = [_singular(word) for word in re.findall(r"[^\W_]+", phrase.lower())]
    cut = next((i for i, word in enumerate(words) if word in phrase_forms.PREPOSITIONS), len(words))
    head = words[:cut]
    while head:
        if name := _class_at_end(head):
            return name
        if len(head) == 1 or not head[-1].endswith(("ing", "ed")):
            return head[-1]
        head.pop()  # a trailing participle: "vehicle driving"
    return phrase.lower()


def category_of(phrase: str) -> str:
    """Returns the class that a phrase refers to.

    Args:
      phrase: a referring expression, e.g. "light-duty vehicle".

    Returns:
      One of `CATEGORIES`; "other" if the head noun, see `head_of`, is none of the 14 classes.
    """
    head = head_of(phrase)
    return head if head in CLASSES else "other"
