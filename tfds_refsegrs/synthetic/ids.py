"""Names of triplets: which image ids belong to the same scene."""

import re

_SYNTHETIC_ID = re.compile(r"(scene\d+)_\d+")


def triplet_id(scene: int, index: int) -> str:
    """Returns the image id of phrase `index` of synthetic scene `scene`: "scene00012_3"."""
    return f"scene{scene:05d}_{index}"


def scene_of(image_id: str) -> str:
    """Returns the scene that a triplet was made from.

    Synthetic ids carry their scene: "scene00012_3" gives "scene00012". Ids of RefSegRS and of
    folders in its layout are running numbers that say nothing about the scene; they come back
    unchanged, so that each is a scene of its own.

    Args:
      image_id: the feature `image_id`.

    Returns:
      The scene's name.
    """
    match = _SYNTHETIC_ID.fullmatch(image_id)
    return match[1] if match else image_id
