"""Names and numbers that several subpackages share."""

# Of the colours of ImageNet's images, from 0 to 1, by which all models' images are normalised.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The mean as a colour of 8 bits, which becomes 0 once normalised: what has no data looks like it.
VOID = tuple(round(255 * mean) for mean in IMAGENET_MEAN)

# Index of a sample that only fills up an evaluation batch.
PADDING_INDEX = -1

SPLITS = ("train", "validation", "test")
EVALUATED = (
    rf"({'|'.join(SPLITS)})(_[\w-]+)?"  # an evaluated split; of several datasets test_rrsisd
)

# Folders inside a run's folder.
CHECKPOINTS_FOLDER = "checkpoints"
TOKENIZER_FOLDER = "tokenizer"

# How paths in GDAL's virtual file systems begin.
VIRTUAL_ROOT = "/vsi"

# What predictions and pages do unless told otherwise.
DEFAULT_OVERLAP = 0.25  # least overlap of tiles, as a fraction of a tile
DEFAULT_THRESHOLD = 0.5  # probability above which a pixel is in the mask
PICTURES = 12  # of each kind in a gallery
