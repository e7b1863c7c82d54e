"""Values of the encoders' sections that do not fit each other, each told in a sentence."""

import re

import pytest

from rrsis_jax.models.backbones.beit3 import config as beit3
from rrsis_jax.models.backbones.sam2 import config as sam2


def test_the_small_sections_fit():
    assert sam2.find_problems(sam2.get_small(), 64) == []
    assert beit3.find_problems(beit3.get_small()) == []


@pytest.mark.parametrize(
    ("changes", "image_size", "sentence"),
    [
        ({"num_heads": 3}, 64, r"sam2\.num_heads is 3; it must divide sam2\.embed_dim \(8\)"),
        ({"decoder_heads": 5}, 64, r"sam2\.decoder_heads is 5; it must divide sam2\.features"),
        ({"features": 20}, 64, r"sam2\.features is 20; it must be a multiple of 8 and of twice"),
        ({"mask_channels": 6}, 64, r"sam2\.mask_channels is 6; it must be a multiple of 4"),
        ({"global_blocks": (4,)}, 64, r"sam2\.global_blocks names block 4; the last .* is 3"),
        ({"windows": (4, 3, 2, 2)}, 64, r"sam2\.windows has 3; the next stage halves it"),
        ({}, 48, r"data\.image_size is 48; it must be a multiple of 32"),
    ],
)
def test_a_sam2_that_cannot_be_built_says_why(changes, image_size, sentence):
    config = sam2.get_small()
    config.update(changes)
    problems = sam2.find_problems(config, image_size)
    assert any(re.match(sentence, problem) for problem in problems), problems


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_heads": 5}, r"beit3\.num_heads is 5; it must divide beit3\.width \(32\)"),
        ({"patch_size": 5}, r"beit3\.patch_size is 5; it must divide beit3\.image_size \(16\)"),
        ({"max_tokens": 15}, r"beit3\.max_tokens is 15; it must be at most 14"),
    ],
)
def test_a_beit3_that_cannot_be_built_says_why(changes, sentence):
    config = beit3.get_small()
    config.update(changes)
    problems = beit3.find_problems(config)
    assert any(re.match(sentence, problem) for problem in problems), problems
