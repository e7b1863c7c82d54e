"""FIANet as a model: groups, loss, word masks, weights both ways, what is refused."""

import numpy as np
import pytest

from rrsis_jax.configuration import schema
from rrsis_jax.data import tokenizers, word_masks
from rrsis_jax.data.tokenizers import word_masked, wordpiece
from rrsis_jax.models import published, registry
from tests.models import family

PHRASES = ("car", "vehicle driving on the road")


@pytest.fixture(scope="module")
def model():
    return registry.build(family.tiny("fianet"))


def test_dead_parameters_and_loss_are_the_recorded_ones(model, goldens):
    schema.check(model.config)
    family.assert_dead_as_recorded(model, np.load(goldens / "fianet_small_train64.npz"))
    family.assert_loss_as_recorded(model, dice_batch=8)


def test_groups_are_the_papers(model):
    family.assert_decay_by_published_names(model)
    mixer = ("decoder", "mixer", "blocks_0")
    assert model.param_group((*mixer, "norm1", "scale")).decay == 0.0
    assert model.param_group((*mixer, "mlp", "fc1", "bias")).decay == 1.0


def test_weights_return_and_are_recognised(model):
    state_dict = family.assert_weights_return(model)
    assert registry.recognised(state_dict) == "fianet"
    go_embedding = "backbone.layers.3.object_position_align_blk.go_embedding.weight"
    assert state_dict[go_embedding].shape == (128, 128)
    with pytest.raises(
        ValueError, match=r"look like 'fianet' weights.*: use --config=fianet_refsegrs"
    ):
        published.import_state_dict(state_dict, registry.build(family.tiny("rmsin")))


def test_masks_of_a_run_are_made_by_its_configuration():
    config = family.tiny("fianet")
    config.model.word_masks.classes = ("vehicle", "road")
    model = registry.build(config)
    tokens = model.tokenizer("", PHRASES)("vehicle driving on the road")
    assert tokens.keys() == model.text_shapes().keys()
    assert np.flatnonzero(tokens["object_mask"]).tolist() == [1, 5]
    assert np.flatnonzero(tokens["position_mask"]).tolist() == [3, 4, 5]
    config.model.word_masks.object_with_ends = True
    tokens = registry.build(config).tokenizer("", PHRASES)("vehicle driving on the road")
    assert np.flatnonzero(tokens["object_mask"]).tolist() == [0, 1, 5, 6]


def test_ready_masks_beside_a_vocabulary_are_taken(model, tmp_path):
    length = model.config.model.text.max_tokens
    ready = {
        "car": {"object_mask": [1] * length, "position_mask": [0, 1] + [0] * (length - 2)},
    }
    words = wordpiece.train(PHRASES, 64, length)
    tokenizer = word_masked.WordMaskTokenizer(words, word_masks.MaskRules(("road",)), ready)
    tokenizer.save(tmp_path)
    again = tokenizers.load(tmp_path, tokenizers.described(tokenizer))
    of_a_run = model.tokenizer(str(tmp_path))  # with the classes of its own configuration
    for phrase, marked in (("car", range(length)), ("car on the road", [4])):
        tokens = tokenizer(phrase)
        assert np.flatnonzero(tokens["object_mask"]).tolist() == list(marked)
        assert all((tokens[name] == again(phrase)[name]).all() for name in tokens)
    assert of_a_run("car")["object_mask"].all()
    assert np.flatnonzero(of_a_run("car on the road")["object_mask"]).tolist() == [1, 4]
    (tmp_path / "word_masks.json").write_text('{"ready": {"car": {"object_mask": [0, 1]}}}')
    with pytest.raises(ValueError, match=r"masks of 'car' are \['object_mask'\]; give object_mask"):
        model.tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match=r"word_masks\.json holds no rules of word masks"):
        tokenizers.load(tmp_path, tokenizers.described(tokenizer))


def test_pieces_of_words_are_marked_where_they_are():
    words = wordpiece.train(("road",), 200, 12)  # other words are spelled
    rules = word_masks.MaskRules(("road",), all_pieces=True)
    tokens = word_masked.WordMaskTokenizer(words, rules)("on a wet road")
    assert np.flatnonzero(tokens["object_mask"]).tolist() == [7]


def test_a_mask_of_the_wrong_length_and_an_unknown_tagger_are_refused(model):
    words = wordpiece.train(PHRASES, 64, 4)
    short = {"car": {name: [0, 1, 0] for name in word_masks.NAMES}}
    with pytest.raises(
        ValueError, match=r"object_mask of 'car' has shape \(3,\), .* 4 token positions"
    ):
        word_masked.WordMaskTokenizer(words, word_masks.MaskRules(()), short)
    with pytest.raises(ValueError, match=r"no tagger of words 'brill'; known are rules"):
        word_masked.WordMaskTokenizer(words, word_masks.MaskRules((), tagger="brill"))
    config = family.tiny("fianet")
    config.model.word_masks.tagger = "brill"
    with pytest.raises(ValueError, match=r"word_masks\.tagger is 'brill'; it must be one of rules"):
        schema.check(config)


def test_a_first_stage_that_cannot_be_squeezed_is_refused():
    config = family.tiny("fianet")
    config.model.vision.embed_dim = 4
    with pytest.raises(ValueError, match=r"vision\.embed_dim is 4; it must be at least 8"):
        registry.build(config)
