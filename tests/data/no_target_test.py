"""Absent phrases name a category that their image does not show."""

import numpy as np

from rrsis_jax.data.no_target import AbsentPhrases, WithAbsentPhrases

# image, category, phrase; image 2 shows every category
SAMPLES = [
    (0, 0, "road"), (0, 1, "tree"), (1, 1, "tall tree"), (1, 1, "tree"),
    (2, 0, "long road"), (2, 1, "tree"), (2, 2, "car"), (3, 2, "red car"),
]  # fmt: skip
SHOWN = {0: {"road", "tree"}, 1: {"tree"}, 2: {"road", "tree", "car"}, 3: {"car"}}


class Split:
    def __init__(self, decode):
        self._decode = decode

    def __len__(self):
        return len(SAMPLES)

    def __getitem__(self, index):
        image, category, phrase = SAMPLES[index]
        shown = np.full((4, 4, 3), image, np.uint8)
        return {
            "image": shown if self._decode else shown.tobytes(),
            "mask": np.ones((4, 4, 1), np.uint8),
            "category": category,
            "expression": phrase.encode(),
        }

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def test_what_is_drawn_is_not_in_the_image():
    absent, rng = AbsentPhrases(Split(decode=False)), np.random.default_rng(0)
    for index, (image, _, _) in enumerate(SAMPLES):
        drawn = {absent.draw(index, rng) for _ in range(60)}
        if image == 2:
            assert drawn == {None}
            continue
        expected = {phrase for _, _, phrase in SAMPLES if phrase.split()[-1] not in SHOWN[image]}
        assert drawn == expected


def test_a_split_of_absent_phrases_has_empty_masks_and_leaves_full_images_out():
    split = WithAbsentPhrases(Split(decode=True), Split(decode=False), seed=1)
    again = WithAbsentPhrases(Split(decode=True), Split(decode=False), seed=1)
    assert len(split) == 5
    for index in range(5):
        example = split[index]
        assert not example["mask"].any()
        assert example["expression"].split()[-1] not in SHOWN[example["image"][0, 0, 0]]
        assert example["expression"] == again[index]["expression"]
