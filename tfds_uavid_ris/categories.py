"""The classes of UAVid-RIS, after the names of its crops (AeroReformer, tool/image_split_uavid.py).

The list in its `instances.json` has not been seen.
"""

from tfds_referring.class_names import ClassNames

CLASS_NAMES = ClassNames(
    names=("building", "tree", "road", "low vegetation", "moving car", "static car", "human"),
)
