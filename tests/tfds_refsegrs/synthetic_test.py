import collections
import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest

from tfds_referring import images, phrase_files
from tfds_refsegrs import categories
from tfds_refsegrs.synthetic import phrases, render, triplets

SIZE = 64

DIGEST = """
import hashlib
from tfds_refsegrs.synthetic import triplets
scene = triplets.make_scene(3, 17, 64)
digest = hashlib.sha256(scene.image.tobytes())
for image_id, phrase, mask in scene.triplets:
    digest.update(image_id.encode() + phrase.encode() + mask.tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def made():
    return [triplets.make_scene(0, number, SIZE) for number in range(40)]


def masks_of(scene):
    return np.stack([mask.ravel() for *_, mask in scene.triplets]).astype(bool)


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def test_shapes_and_types(made):
    for number, scene in enumerate(made):
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.image.std() > 15  # not a blank picture
        for k, (image_id, phrase, mask) in enumerate(scene.triplets):
            assert image_id == f"scene{number:05d}_{k}"
            assert categories.category_of(phrase) != "other"
            assert mask.shape == (SIZE, SIZE, 1)
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) == {0, 1}


def test_masks_of_a_scene_differ(made):
    for scene in made:
        masks = masks_of(scene)
        assert len(masks) >= triplets.FEWEST_PHRASES
        assert len({phrase for _, phrase, _ in scene.triplets}) == len(masks)
        for one, other in itertools.combinations(masks, 2):
            assert overlap(one, other) <= phrases.MAX_OVERLAP


def test_ignoring_the_phrase_does_not_score(made):
    """Even the best union of a scene's masks, chosen in hindsight, is a poor answer to all."""
    best = []
    for scene in made:
        masks = masks_of(scene)
        answers = (
            masks[list(chosen)].any(axis=0)
            for count in range(1, len(masks) + 1)
            for chosen in itertools.combinations(range(len(masks)), count)
        )
        best.append(max(np.mean([overlap(answer, mask) for mask in masks]) for answer in answers))
    assert np.mean(best) < 0.25


def test_phrases_are_balanced(made):
    surface = {phrase.text: phrase.surface for phrase in phrases.PHRASES}
    count = collections.Counter(text for scene in made for _, text, _ in scene.triplets)
    share = sum(n for text, n in count.items() if surface[text]) / count.total()
    assert 0.4 < share < 0.6
    assert max(count.values()) < 0.15 * count.total()
    seen = {categories.category_of(text) for text in count}
    assert seen == set(categories.CLASSES)


def test_masks_cover_what_the_picture_shows():
    """The road's pixels are gray, trees green: mask and picture come from the same outlines."""
    color = collections.defaultdict(list)
    for number in range(12):
        scene = triplets.make_scene(1, number, SIZE)
        for _, phrase, mask in scene.triplets:
            color[phrase].append(scene.image[mask[..., 0] == 1].astype(float).mean(axis=0))
    road, lawn = np.mean(color["road"], axis=0), np.mean(color["low vegetation"], axis=0)
    assert np.ptp(road) < 25
    assert lawn[1] > lawn[0] > lawn[2]


def test_coverage_is_the_majority_of_subpixels():
    side = render.SUPERSAMPLE
    ids = np.zeros((side, 2 * side), np.int32)
    ids[:, : side // 2] = 1  # half of the left pixel
    ids[0, side:] = 1  # a quarter of the right one
    mask = render.coverage(np.array([False, True]), np.concatenate([ids, ids]))
    np.testing.assert_array_equal(mask[..., 0], [[1, 0], [1, 0]])


def test_same_seed_same_bytes_in_another_process():
    here = triplets.make_scene(3, 17, 64)
    digest = hashlib.sha256(here.image.tobytes())
    for image_id, phrase, mask in here.triplets:
        digest.update(image_id.encode() + phrase.encode() + mask.tobytes())
    ran = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == digest.hexdigest()


def test_seed_and_number_change_the_scene():
    images = [
        triplets.make_scene(seed, number, SIZE).image for seed, number in ((0, 0), (0, 1), (1, 0))
    ]
    assert all((a != b).mean() > 0.5 for a, b in itertools.combinations(images, 2))


def test_splits_share_no_scene():
    numbers = triplets.split_scenes((3, 1, 2))
    assert {split: list(span) for split, span in numbers.items()} == {
        "train": [0, 1, 2],
        "validation": [3],
        "test": [4, 5],
    }


@pytest.mark.parametrize("num_scenes", [(1, 2), (1, 0, 1)])
def test_wrong_num_scenes(num_scenes):
    with pytest.raises(ValueError, match=r"num_scenes is \(1, .*expected three positive counts"):
        triplets.split_scenes(num_scenes)


def test_size_too_small():
    with pytest.raises(ValueError, match="size is 16; expected at least 32"):
        triplets.make_scene(0, 0, 16)


def test_a_written_folder_reads_back_as_the_scenes(tmp_path):
    triplets.write_folder(tmp_path / "new", (2, 1, 1), SIZE, seed=5)
    read = phrase_files.read_folder(tmp_path / "new")
    for split, numbers in triplets.split_scenes((2, 1, 1)).items():
        expected = [
            (scene.image, *triplet)
            for scene in (triplets.make_scene(5, number, SIZE) for number in numbers)
            for triplet in scene.triplets
        ]
        for triplet, (image, image_id, phrase, mask) in zip(read[split], expected, strict=True):
            assert (triplet.image_id, triplet.phrase) == (image_id, phrase)
            np.testing.assert_array_equal(images.read_image(triplet.image), image)
            np.testing.assert_array_equal(images.read_mask(triplet.mask), mask)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty; choose a new folder"):
        triplets.write_folder(tmp_path, (1, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
