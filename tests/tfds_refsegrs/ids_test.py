import pytest

from tfds_refsegrs.synthetic import ids


def test_triplets_of_a_scene_share_it():
    assert ids.triplet_id(12, 3) == "scene00012_3"
    assert ids.scene_of("scene00012_3") == ids.scene_of("scene00012_0") == "scene00012"
    assert ids.scene_of("scene00012_3") != ids.scene_of("scene00013_3")


@pytest.mark.parametrize("image_id", ["137", "tile_3", "scene00012", "scene_1_2"])
def test_other_ids_are_their_own_scene(image_id):
    assert ids.scene_of(image_id) == image_id
