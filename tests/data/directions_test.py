"""Direction words follow the image; what cannot be named is left alone."""

import pytest

from rrsis_jax.data import directions
from rrsis_jax.data.geometry import ALL, IDENTITY, Geometry

MIRROR, QUARTER, HALF = Geometry(True, 0), Geometry(False, 1), Geometry(False, 2)


@pytest.mark.parametrize(
    ("phrase", "mirrored", "quarter", "half"),
    [
        ("car on the left", "car on the right", "car on the bottom", "car on the right"),
        (
            "the upper left building",
            "the upper right building",
            "the lower left building",
            "the lower right building",
        ),
        ("bottom-right court", "bottom-left court", "top-right court", "top-left court"),
        (
            "road to the left of the building",
            "road to the right of the building",
            "road below the building",
            "road to the right of the building",
        ),
        (
            "to the left of the image",
            "to the right of the image",
            "to the bottom of the image",
            "to the right of the image",
        ),
        ("pool above the house", "pool above the house",
         "pool to the left of the house", "pool below the house"),
        ("North-eastern field", "North-western field", "North-western field",
         "South-western field"),
        ("court southeast of pool", "court southwest of pool", "court northeast of pool",
         "court northwest of pool"),
        ("leftmost car", "rightmost car", "bottommost car", "rightmost car"),
        ("horizontally parked cars", "horizontally parked cars", "vertically parked cars",
         "horizontally parked cars"),
        ("northbound lane", "northbound lane", "westbound lane", "southbound lane"),
        ("car on the right of the road", "car on the left of the road", None,
         "car on the left of the road"),
    ],
)  # fmt: skip
def test_words_are_exchanged(phrase, mirrored, quarter, half):
    assert directions.map_phrase(phrase, MIRROR) == mirrored
    assert directions.map_phrase(phrase, QUARTER) == quarter
    assert directions.map_phrase(phrase, HALF) == half


@pytest.mark.parametrize(
    "phrase",
    [
        "low vegetation surrounded by building",
        "vehicle in the parking area",
        "tree on top of the roof",
        "car right next to the bright truck",
        "upright uproot eastman leftover",
    ],
)
def test_words_that_are_no_directions_stay(phrase):
    assert not directions.has_direction(phrase)
    assert {directions.map_phrase(phrase, chosen) for chosen in ALL} == {phrase}


@pytest.mark.parametrize(
    "phrase", ["car turning left", "the left-turn lane", "clockwise roundabout", "car up the road"]
)
def test_what_cannot_be_mapped_is_refused(phrase):
    assert directions.has_direction(phrase)
    assert [directions.map_phrase(phrase, chosen) for chosen in ALL if chosen != IDENTITY] == (
        [None] * 7
    )
    assert directions.map_phrase(phrase, IDENTITY) == phrase


@pytest.mark.parametrize("chosen", ALL)
@pytest.mark.parametrize(
    "phrase", ["top left car", "the north-eastern tree", "pool to the right of the house"]
)
def test_going_back_gives_the_phrase_again(phrase, chosen):
    moved = directions.map_phrase(phrase, chosen)
    assert directions.map_phrase(moved, chosen.inverse()) == phrase
