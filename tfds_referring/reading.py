"""How much of a phrase a model reads: its tokens, and the words that its vocabulary lacks."""

import re
from typing import Protocol

MAX_TOKENS = 20
"""Tokens that the models of the field read of a phrase."""


class Reader(Protocol):
    """What an audit asks of a tokenizer."""

    max_tokens: int

    def num_tokens(self, phrase: str) -> int:
        """Returns the tokens of a phrase, with those at its start and end."""
        ...

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns the words that the vocabulary does not know."""
        ...


class WordCounter:
    """Stands in for an unknown tokenizer: every word and sign is at least one token."""

    def __init__(self, max_tokens: int = MAX_TOKENS):
        """Reads `max_tokens` tokens of a phrase."""
        self.max_tokens = max_tokens

    def num_tokens(self, phrase: str) -> int:
        """Returns the fewest tokens that a phrase can have, with its start and its end."""
        return len(re.findall(r"\w+|[^\w\s]", phrase)) + 2

    def unread_words(self, phrase: str) -> tuple[str, ...]:
        """Returns no word: without a vocabulary none is known to be missing."""
        del phrase
        return ()
