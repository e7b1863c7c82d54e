import json

import numpy as np
import pytest

from rrsis_jax.data import word_masks
from rrsis_jax.models.fianet.config import REFSEGRS_CLASSES, RRSISD_CLASSES
from tfds_refsegrs.categories import CLASSES
from tfds_refsegrs.synthetic.phrases import PHRASES

DATASETS = {
    "refsegrs": (REFSEGRS_CLASSES, 20),
    "rrsisd": (RRSISD_CLASSES, 22),
}


@pytest.fixture(scope="module")
def recorded(goldens):
    """Phrases with the published loader's words, tags and masks, by dataset."""
    return json.loads((goldens / "fianet_words.json").read_text())


def test_the_classes_of_refsegrs_are_the_datasets():
    assert REFSEGRS_CLASSES == CLASSES


def attention(words, length):
    return (np.arange(length) < len(words) + 2).astype(np.int32)


@pytest.mark.parametrize("dataset", DATASETS)
def test_masks_are_the_published_ones_with_the_published_tags(recorded, dataset):
    classes, length = DATASETS[dataset]
    for case in recorded[dataset]:
        masks = word_masks.word_masks(
            case["phrase"],
            classes,
            attention(case["words"], length),
            tagger=lambda _, case=case: case["tags"],
        )
        assert masks["object_mask"].tolist() == case["object_mask"], case["phrase"]
        assert masks["position_mask"].tolist() == case["position_mask"], case["phrase"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_small_tagger_leads_to_the_published_masks(recorded, dataset):
    classes, length = DATASETS[dataset]
    for case in recorded[dataset]:
        words = word_masks.words_of(case["phrase"])
        assert words == case["words"]
        masks = word_masks.word_masks(case["phrase"], classes, attention(words, length))
        assert masks["position_mask"].tolist() == case["position_mask"], case["phrase"]


def test_the_places_of_the_rendered_phrases_are_marked():
    """All but two of them, the second and third, are among the recorded."""
    places = {"along the road", "with tree", "by building", "on the road", "in the parking", ""}
    found = set()
    for phrase in PHRASES:
        words = word_masks.words_of(phrase.text)
        marked = word_masks.word_masks(phrase.text, CLASSES, attention(words, 20))["position_mask"]
        everything = marked.sum() == len(words) + 2
        found.add("" if everything else " ".join(words[i - 1] for i in np.flatnonzero(marked)))
    assert found == places


def test_what_lies_beyond_the_last_position_is_cut():
    masks = word_masks.word_masks("a very long story of a tree", ("tree",), np.ones(5, np.int32))
    assert masks["object_mask"].tolist() == [0] * 5
    masks = word_masks.word_masks("tree on the left side", ("tree",), np.ones(4, np.int32))
    assert masks["object_mask"].tolist() == [0, 1, 0, 0]
    assert masks["position_mask"].tolist() == [0, 0, 1, 1]


def test_whole_words_do_not_see_a_tree_in_a_street():
    sane = word_masks.word_masks("buses in the street", CLASSES, np.ones(8), whole_words=True)
    assert np.flatnonzero(sane["object_mask"]).tolist() == [1]
    quirk = word_masks.word_masks("buses in the street", CLASSES, np.ones(8))
    assert np.flatnonzero(quirk["object_mask"]).tolist() == [1, 4]


def test_pieces_of_words_move_the_positions():
    masks = word_masks.word_masks(
        "light-duty vehicle on the road", ("vehicle",), np.ones(10), piece_counts=(3, 1, 1, 1, 1)
    )
    assert np.flatnonzero(masks["object_mask"]).tolist() == [4]
    assert np.flatnonzero(masks["position_mask"]).tolist() == [5, 6, 7]


def test_ready_masks_are_checked():
    ready = word_masks.check_ready_mask("object_mask", [0, 1, 1, 0], 4)
    assert ready.dtype == np.int32
    with pytest.raises(ValueError, match=r"object_mask has shape \(3,\), .* 4 token positions"):
        word_masks.check_ready_mask("object_mask", [0, 1, 1], 4)
    with pytest.raises(ValueError, match="other values than 0 and 1"):
        word_masks.check_ready_mask("object_mask", [0, 2, 1, 0], 4)
