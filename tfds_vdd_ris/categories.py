"""The classes of VDD-RIS, after the labels of its crops (AeroReformer, tool/image_split_vdd.py).

The list in its `instances.json` has not been seen.
"""

from tfds_referring.class_names import ClassNames

CLASS_NAMES = ClassNames(
    names=("wall", "road", "vegetation", "vehicle", "roof", "water"),
)
