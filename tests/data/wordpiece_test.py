"""Phrases to ids: padding, slicing, training and storing."""

import numpy as np
import pytest

from rrsis_jax.data import tokenizers, unread
from rrsis_jax.data.tokenizers import wordpiece

PHRASES = ["car", "vehicle driving on the road", "building along the road", "low vegetation"]


@pytest.fixture(scope="module")
def trained():
    return wordpiece.train(PHRASES, vocab_size=192, max_tokens=8)


def arrays(tokens):
    assert list(tokens) == ["input_ids", "attention_mask"]
    return tokens.values()


def assert_same(one, other):
    for ours, theirs in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_ids_are_padded_with_zero_and_masked(trained):
    ids, mask = arrays(trained("building along the road"))
    assert ids.dtype == mask.dtype == np.int32
    assert mask.tolist() == [1] * 6 + [0] * 2  # [CLS], four words, [SEP]
    assert ids[6:].tolist() == [0, 0]
    assert (ids[:2] > 0).all()
    assert ids[0] == wordpiece.SPECIAL_TOKENS.index("[CLS]")
    assert ids[5] == wordpiece.SPECIAL_TOKENS.index("[SEP]")


def test_a_long_phrase_can_keep_its_end(trained, tmp_path):
    phrase = "vehicle driving on the road along the building"
    keeping = trained.keeping_end()
    ids, mask = arrays(keeping(phrase))
    sliced, _ = arrays(trained(phrase))
    assert mask.tolist() == [1] * 8
    assert ids[:7].tolist() == sliced[:7].tolist()
    assert ids[7] == wordpiece.SPECIAL_TOKENS.index("[SEP]")
    assert_same(keeping("car"), trained("car"))
    assert (trained.cut_words(phrase), keeping.cut_words(phrase)) == ("building", "the building")
    keeping.save(tmp_path)
    again = tokenizers.load(tmp_path, tokenizers.described(keeping))
    assert_same(again(phrase), keeping(phrase))


def test_a_word_of_which_a_piece_is_cut_is_cut(trained):
    """A word that was not trained is spelled; losing [SEP] alone cuts no word."""
    fits, loses_end, loses_letter = "road abcde", "road abcdef", "road abcdefg"
    assert [trained.num_tokens(x) for x in (fits, loses_end, loses_letter)] == [8, 9, 10]
    assert [trained.cut_words(x) for x in (fits, loses_end, loses_letter)] == ["", "", "abcdefg"]
    assert trained.keeping_end().cut_words(loses_end) == "abcdef"
    cut, new = unread.warnings(trained, [fits, loses_end, loses_letter], "validation")
    assert cut.startswith("validation: 1 of 3 different phrases lose their end, because the model")
    assert "reads 8 tokens: 'road abcdefg' ends in 'abcdefg'. A new run with max_tokens=10" in cut
    assert new.startswith("validation: 3 of 3 different phrases have words that mean nothing")


def test_a_long_phrase_is_cut_by_slicing_and_loses_its_end(trained):
    ids, mask = arrays(trained("vehicle driving on the road " * 3))
    assert mask.tolist() == [1] * 8
    assert wordpiece.SPECIAL_TOKENS.index("[SEP]") not in ids.tolist()


def test_case_does_not_matter(trained):
    assert_same(trained("Car"), trained("car"))


def test_training_depends_on_the_set_of_phrases_only(trained):
    again = wordpiece.train([*reversed(PHRASES), "car"], vocab_size=192, max_tokens=8)
    for phrase in [*PHRASES, "vegetation on the car"]:
        assert_same(trained(phrase), again(phrase))
    assert trained.vocab_size <= 192


def test_a_stored_tokenizer_comes_back(trained, tmp_path):
    trained.save(tmp_path)
    loaded = wordpiece.load(str(tmp_path), max_tokens=8)
    for phrase in [*PHRASES, "unseen wörds"]:
        assert_same(trained(phrase), loaded(phrase))


def test_words_that_no_training_phrase_had_are_told_apart(trained):
    words = ("house", "harbour", "qqqq", "2020")
    assert len({trained(word)["input_ids"].tobytes() for word in words}) == len(words)
    assert trained("水")["input_ids"][1] == wordpiece.SPECIAL_TOKENS.index("[UNK]")


@pytest.mark.parametrize(
    ("phrase", "unread"),
    [
        ("building along the road", ()),
        ("Buildings along the roads.", ()),  # "building" and "s", of which one was trained
        ("the house, the 水 and the HOUSE", ("house", "水", "and", "HOUSE")),
        ("a", ("a",)),
    ],
)
def test_unread_words_are_named(trained, phrase, unread, tmp_path):
    assert trained.unread_words(phrase) == unread
    trained.save(tmp_path)
    assert wordpiece.load(str(tmp_path), max_tokens=8).unread_words(phrase) == unread


def test_a_training_word_counts_as_read_even_where_it_is_spelled_out():
    tight = wordpiece.train(["wharf", "a car"], vocab_size=5, max_tokens=8)
    assert tight.num_tokens("wharf") == 7
    assert tight.unread_words("wharf a frahw") == ("frahw",)


def test_a_vocabulary_from_elsewhere_names_only_what_it_does_not_have(tmp_path):
    letters = [*wordpiece.SPECIAL_TOKENS, "x", "##y"]
    (tmp_path / "vocab.txt").write_text("\n".join(letters))
    loaded = wordpiece.load(str(tmp_path), max_tokens=8)
    assert loaded.unread_words("xyy xz") == ("xz",)


def test_tokens_are_counted_before_they_are_cut(trained):
    assert trained.num_tokens("car") == 3
    assert trained.num_tokens("the car " * 10) == 22
    assert trained.max_tokens == 8


def test_an_empty_phrase_is_refused(trained):
    with pytest.raises(ValueError, match="is empty; say what to segment"):
        trained("  ")


def test_a_missing_tokenizer_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match="train a vocabulary on the training phrases"):
        wordpiece.load(str(tmp_path / "nowhere"), max_tokens=8)
