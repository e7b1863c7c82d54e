"""What the model will not read of the phrases: warnings in words."""

from collections.abc import Sequence

from rrsis_jax import errors
from rrsis_jax.data.inputs import Tokenizer


def warnings(tokenizer: Tokenizer, phrases: Sequence[str], split: str) -> list[str]:
    """Names the phrases that are cut or hold words that the vocabulary does not know.

    Args:
      tokenizer: the run's.
      phrases: the different phrases of the split.
      split: its name, for the message.

    Returns:
      A sentence or two on each kind; none if every phrase is read whole.
    """
    ends = {phrase: end for phrase in phrases if (end := tokenizer.cut_words(phrase))}
    long = {phrase: tokenizer.num_tokens(phrase) for phrase in ends}
    unread = {phrase: words for phrase in phrases if (words := tokenizer.unread_words(phrase))}
    sentences = []
    if long:
        longest_first = sorted(long, key=lambda phrase: -long[phrase])
        named = [f"{phrase!r} ends in {ends[phrase]!r}" for phrase in longest_first]
        sentences.append(
            f"{split}: {len(long)} of {len(phrases)} different phrases lose their end, because the "
            f"model reads {tokenizer.max_tokens} tokens: {errors.listing(named)}. A new run with "
            f"max_tokens={max(long.values())} of the text encoder reads them whole."
        )
    if unread:
        named = [f"{', '.join(words)} in {phrase!r}" for phrase, words in unread.items()]
        sentences.append(
            f"{split}: {len(unread)} of {len(phrases)} different phrases have words that mean "
            f"nothing to the vocabulary: {errors.listing(named)}."
        )
    return sentences
