"""The three forms of a referring phrase: a class alone, with an attribute, with a relation."""

import re

from tfds_refsegrs import categories

# fmt: off
PREPOSITIONS = frozenset((
    "on", "in", "along", "with", "by", "at", "near", "beside", "behind", "between", "around",
    "of", "to", "from", "next", "without", "within", "under", "over", "across", "inside",
    "outside", "against", "opposite", "alongside", "through", "toward", "towards", "that",
    "which", "where",
))

FORMS = ("class", "attribute", "relation")
"""What `form_of` returns, from the shortest phrases to the longest."""


def form_of(phrase: str) -> str:
    """Returns how a phrase says what it means.

    A preposition makes a relation ("building along the road"); otherwise the name of a class
    alone is a class ("road marking", "vehicles") and anything before it an attribute ("long
    truck"). A phrase that ends in none of the 14 classes is taken for the name of a class.

    Args:
      phrase: a referring expression.

    Returns:
      One of `FORMS`.
    """
    words = re.findall(r"[^\W_]+", phrase.lower())
    if any(word in PREPOSITIONS for word in words):
        return "relation"
    category = categories.category_of(phrase)
    known = category in categories.CLASSES
    return "attribute" if known and len(words) > len(category.split()) else "class"
