"""Names and numbers that several rooms share."""

# Channel statistics of ImageNet, for images scaled to [0, 1] (RGB).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Thresholds X of P@X, the share of samples whose IoU reaches X.
PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

# Index of a sample that only fills up an evaluation batch.
PADDING_INDEX = -1

# Folders inside a run's folder.
CHECKPOINTS_FOLDER = "checkpoints"
TOKENIZER_FOLDER = "tokenizer"

# What predictions and pages do unless told otherwise.
DEFAULT_OVERLAP = 0.25  # least overlap of tiles, as a fraction of a tile
DEFAULT_THRESHOLD = 0.5  # probability above which a pixel is in the mask
PICTURES = 12  # of each kind in a gallery
