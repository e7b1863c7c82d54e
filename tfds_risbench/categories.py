"""The classes that RISBench's phrases mention; its files have none.

Names after RSRefSeg 2 (refseg/datasets/refdataset.py at 7cda8cd), "running track field" and the
other words for a class after DiCoR.
"""

from tfds_referring.class_names import ClassNames

CLASS_NAMES = ClassNames(
    names=(
        "expressway service area",
        "expressway toll station",
        "ground track field",
        "basketball court",
        "container crane",
        "roundabout",
        "windmill",
        "overpass",
        "stadium",
        "bridge",
        "soccer ball field",
        "baseball diamond",
        "train station",
        "golf field",
        "airport",
        "harbor",
        "dam",
        "ship",
        "helipad",
        "vehicle",
        "chimney",
        "airplane",
        "helicopter",
        "tennis court",
        "storage tank",
        "swimming pool",
        "running track field",
    ),
    aliases={
        "plane": "airplane",
        "aircraft": "airplane",
        "baseball field": "baseball diamond",
        "soccer field": "soccer ball field",
        "car": "vehicle",
        "truck": "vehicle",
        "bus": "vehicle",
        "service area": "expressway service area",
        "toll station": "expressway toll station",
        "golf course": "golf field",
        "vessel": "ship",
        "boat": "ship",
        "dock": "harbor",
        "pier": "harbor",
        "harbour": "harbor",
        "cooling tower": "chimney",
    },
)
