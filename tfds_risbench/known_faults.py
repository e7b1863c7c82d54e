"""Records of RISBench that a published loader leaves out; all are in the training split.

Source: DiCoR, data/refdataset.py at 07f08a7. The three looked at have the
phrase "."; no reason is told for the others.
"""

_IDS = (
    "12443_2 11904_8 11818_2 11785_0 11021_1 10698_0 10222_0 9598_7 9405_1 8518_1 7581_3 7222_1 "
    "7008_0"
)
_DOTS = "6194_0 6194_1 819_1"

KNOWN_FAULTS = {
    **{f"train_{number}": "left out by DiCoR's loader" for number in _IDS.split()},
    **{f"train_{number}": "its phrase is '.'" for number in _DOTS.split()},
}
"""Image id → what is known of it."""
