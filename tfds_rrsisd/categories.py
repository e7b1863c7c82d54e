"""The classes of RRSIS-D, which are DIOR's; `spelled` knows the names of its files."""

from tfds_referring.class_names import ClassNames

CLASS_NAMES = ClassNames(
    names=(
        "expressway service area",
        "expressway toll station",
        "airplane",
        "airport",
        "baseball field",
        "basketball court",
        "bridge",
        "chimney",
        "dam",
        "golf field",
        "ground track field",
        "harbor",
        "overpass",
        "ship",
        "stadium",
        "storage tank",
        "tennis court",
        "train station",
        "vehicle",
        "windmill",
    ),
)
