"""Absent phrases name a kind of thing that their image does not show."""

import sys

import numpy as np

from rrsis_jax.data.no_target import AbsentPhrases, WithAbsentPhrases

# image, phrase; image 2 shows all kinds; boat and crane are no classes of RefSegRS
SAMPLES = [
    (0, "road"), (0, "boat"), (1, "sailing boat on the left"), (1, "boat"),
    (2, "long road"), (2, "boat at the crane"), (2, "cranes"), (3, "red crane in the harbour"),
]  # fmt: skip
HEADS = ["road", "boat", "boat", "boat", "road", "boat", "crane", "crane"]
SHOWN = {0: {"road", "boat"}, 1: {"boat"}, 2: {"road", "boat", "crane"}, 3: {"crane"}}
HEAD_OF = {phrase: head for (_, phrase), head in zip(SAMPLES, HEADS, strict=True)}


class Split:
    def __init__(self, decode):
        self._decode = decode

    def __len__(self):
        return len(SAMPLES)

    def __getitem__(self, index):
        image, phrase = SAMPLES[index]
        shown = np.full((4, 4, 3), image, np.uint8)
        return {
            "image": shown if self._decode else shown.tobytes(),
            "mask": np.ones((4, 4, 1), np.uint8),
            "expression": phrase.encode(),
        }

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def test_what_is_drawn_is_not_in_the_image():
    absent, rng = AbsentPhrases(Split(decode=False)), np.random.default_rng(0)
    for index, (image, _) in enumerate(SAMPLES):
        drawn = {absent.draw(index, rng) for _ in range(60)}
        if image == 2:
            assert drawn == {None}
            continue
        expected = {p for _, p in SAMPLES if HEAD_OF[p] not in SHOWN[image]}
        assert drawn == expected


def test_a_split_of_absent_phrases_has_empty_masks_and_leaves_full_images_out():
    split = WithAbsentPhrases(Split(decode=True), Split(decode=False), seed=1)
    again = WithAbsentPhrases(Split(decode=True), Split(decode=False), seed=1)
    assert len(split) == 5
    for index in range(5):
        example = split[index]
        assert not example["mask"].any()
        assert HEAD_OF[example["expression"]] not in SHOWN[example["image"][0, 0, 0]]
        assert example["expression"] == again[index]["expression"]


def test_whether_any_phrase_is_absent(monkeypatch):
    assert AbsentPhrases(Split(decode=False)).any()
    monkeypatch.setattr(sys.modules[__name__], "SAMPLES", SAMPLES[4:7])
    assert not AbsentPhrases(Split(decode=False)).any()
