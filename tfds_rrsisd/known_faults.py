"""Records of RRSIS-D that published loaders leave out, without a reason being told.

Source: DiCoR, data/refdataset.py at 07f08a7; RSRefSeg 2 (refseg/datasets/
refdataset.py) leaves out the first three of them. Both train and test without them, RMSIN does not.
"""

_IMAGES = (
    "22187 20203 00413 01072 01664 03661 05125 06728 06861 09319 10579 10653 11147 11898 12492 "
    "12630 14464 14915 15357 15584 15737 17068 18552 18845 20235 21126 07239"
)

KNOWN_FAULTS = {str(int(number)): "left out by DiCoR's loader" for number in _IMAGES.split()}
"""Image id → what is known of it."""
