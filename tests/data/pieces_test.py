"""Phrases to ids by pieces of words: the styles of SigLIP, Gemma and BEiT-3."""

import numpy as np
import pytest
import tokenizers as library
from tokenizers import decoders, models, normalizers, pre_tokenizers
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from rrsis_jax.data import tokenizers
from rrsis_jax.data.tokenizers import pieces

PHRASES = ["car", "red vehicle driving on the road", "building along the road", "low vegetation"]
KINDS = sorted(pieces.STYLES)


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    return pieces.train(PHRASES, vocab_size=160, max_tokens=6, kind=request.param)


def ids(tokenizer, phrase):
    return tokenizer(phrase)["input_ids"].tolist()


def mask(tokenizer, phrase):
    return tokenizer(phrase)["attention_mask"].tolist()


def test_a_phrase_ends_in_its_styles_token_and_is_padded(trained):
    tokens = trained("red car")
    assert {x.dtype for x in tokens.values()} == {np.dtype(np.int32)}
    style, number = trained._style, trained._ids
    real = 3 + bool(style.start)
    assert mask(trained, "red car") == [1] * real + [0] * (6 - real)
    assert ids(trained, "red car")[real - 1 :] == [number[style.end]] + [number[style.pad]] * (
        6 - real
    )
    assert trained.num_tokens("red car") == real
    assert max(ids(trained, "xylophones 9")) < trained.vocab_size <= 160


def test_a_long_phrase_is_cut_and_keeps_its_end(trained):
    phrase = "red vehicle driving on the road along the building"
    assert mask(trained, phrase) == [1] * 6
    assert ids(trained, phrase)[-1] == trained._ids[trained._style.end]
    room = 5 - bool(trained._style.start)
    assert trained.cut_words(phrase) == " ".join(phrase.split()[room:])
    assert trained.cut_words("red car") == ""


def test_what_is_stored_comes_back(trained, tmp_path):
    trained.save(tmp_path)
    again = tokenizers.load(tmp_path, tokenizers.described(trained))
    assert again.kind == trained.kind
    for phrase in [*PHRASES, "unseen wörds"]:
        assert ids(again, phrase) == ids(trained, phrase)
        assert again.unread_words(phrase) == trained.unread_words(phrase)


def test_a_vocabulary_depends_on_the_set_of_phrases_only(trained):
    again = pieces.train([*reversed(PHRASES), "car"], 160, 6, trained.kind)
    assert [ids(again, phrase) for phrase in PHRASES] == [ids(trained, p) for p in PHRASES]


@pytest.mark.parametrize(
    ("phrase", "unread"),
    [
        ("building along the road", ()),
        ("buildings along the roads", ()),
        ("the house, the 水 and the house", ("house,", "水", "and", "house")),
    ],
)
def test_unread_words_are_named(phrase, unread):
    tokenizer = pieces.train(PHRASES, 160, 16, "siglip")
    assert tokenizer.unread_words(phrase) == unread


def test_words_of_the_most_phrases_are_taken_where_there_is_little_room():
    tight = pieces.train([*PHRASES, "the car"], 3 + 37 + 2, 16, "siglip")
    assert (tight.num_tokens("the road"), tight.num_tokens("vegetation")) == (3, 12)


def test_siglip_reads_neither_case_nor_punctuation_and_beit3_both():
    siglip, gemma, beit3 = (
        pieces.train(["red car", "Red car."], 200, 8, kind) for kind in ("siglip", "gemma", "beit3")
    )
    assert ids(siglip, "Red, car!") == ids(siglip, "red car")
    assert ids(gemma, "Red car") == ids(gemma, "red car") != ids(gemma, "red car!")
    assert ids(beit3, "Red car") != ids(beit3, "red car")


def test_beit3_is_padded_with_the_unknown_id_and_hides_unknown_pieces():
    tokenizer = pieces.train(PHRASES, 160, 6, "beit3")
    assert mask(tokenizer, "car 水") == [1, 1, 1, 0, 1, 0]  # <s>, car, ▁, 水, </s>
    assert ids(tokenizer, "car")[-1] == tokenizer._ids["<unk>"]


@pytest.mark.parametrize("phrase", ["  ", "?!"])
def test_a_phrase_without_words_is_refused(phrase):
    tokenizer = pieces.train(PHRASES, 160, 6, "siglip")
    with pytest.raises(ValueError, match="is empty; say what to segment"):
        tokenizer(phrase)


def test_a_file_of_gemmas_kind_is_read(tmp_path):
    """Byte pairs over the whole phrase, with blanks as letters and a start token of its own."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", "c", "a", "r", "ca", "car", "▁car"]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [("c", "a"), ("ca", "r"), ("▁", "car")]
    made = library.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Replace("▁", " ")
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = pieces.load(str(tmp_path), 6, "gemma")
    assert ids(tokenizer, "Car car") == [9, 10, 1, 0, 0, 0]
    assert tokenizer.unread_words("car xx car") == ("xx",)


def sentencepiece_file(path, kind, names):
    proto = sentencepiece.ModelProto()
    proto.trainer_spec.model_type = kind
    for name in names:
        piece = proto.pieces.add()
        piece.piece, piece.score = name, -1.0
    path.write_bytes(proto.SerializeToString())


def test_sentencepieces_own_files_are_read(tmp_path):
    names = ["<s>", "</s>", "<unk>", "▁red", "▁car", "▁"]
    sentencepiece_file(tmp_path / "spiece.model", 1, names)
    assert ids(pieces.load(str(tmp_path), 5, "siglip"), "Red  car") == [3, 4, 1, 1, 1]
    (tmp_path / "spiece.model").unlink()
    sentencepiece_file(tmp_path / "beit3.spm", 1, ["<unk>", "<s>", "</s>", "▁red", "▁car", "▁"])
    assert ids(pieces.load(str(tmp_path), 5, "beit3"), "red car") == [0, 4, 5, 2, 3]
    sentencepiece_file(tmp_path / "beit3.spm", 2, names)
    with pytest.raises(ValueError, match=r"of another kind than unigram .* tokenizer\.json"):
        pieces.load(str(tmp_path), 5, "beit3")


def test_what_is_no_tokenizer_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"There is no tokenizer at .* Set data\.tokenizer"):
        pieces.load(str(tmp_path), 5, "siglip")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is no tokenizer of siglip's kind: .* Fetch it anew"):
        pieces.load(str(tmp_path), 5, "siglip")
    pieces.train(PHRASES, 100, 5, "gemma").save(tmp_path)
    with pytest.raises(ValueError, match=r"the vocabulary has no </s>, which siglip needs"):
        pieces.load(str(tmp_path), 5, "siglip")
    with pytest.raises(ValueError, match=r"hf://owner/name was not downloaded before"):
        pieces.load("hf://owner/name", 5, "siglip")
