"""The three forms of a referring phrase: a class alone, with an attribute, with a relation."""

import re

# fmt: off
PREPOSITIONS = frozenset((
    "on", "in", "along", "with", "by", "at", "near", "beside", "behind", "between", "around",
    "of", "to", "from", "next", "without", "within", "under", "over", "across", "inside",
    "outside", "against", "opposite", "alongside", "through", "toward", "towards", "that",
    "which", "where",
))

FORMS = ("class", "attribute", "relation")
"""What `form_of` returns, from the shortest phrases to the longest."""

_ARTICLES = ("a", "an", "the")


def form_of(phrase: str, category: str) -> str:
    """Returns how a phrase says what it means.

    A preposition makes a relation ("building along the road"); otherwise the name of a class
    alone is a class ("road marking", "the vehicles") and anything beside it an attribute ("long
    truck"). A phrase of no class is taken for the name of one.

    Args:
      phrase: a referring expression.
      category: the class that it names, "other" for none.

    Returns:
      One of `FORMS`.
    """
    words = [word for word in re.findall(r"[^\W_]+", phrase.lower()) if word not in _ARTICLES]
    if any(word in PREPOSITIONS for word in words):
        return "relation"
    return "attribute" if category != "other" and len(words) > len(category.split()) else "class"
