"""Names and numbers that several rooms share."""

# Index of a sample that only fills up an evaluation batch.
PADDING_INDEX = -1

# Folders inside a run's folder.
CHECKPOINTS_FOLDER = "checkpoints"
TOKENIZER_FOLDER = "tokenizer"

# What predictions and pages do unless told otherwise.
DEFAULT_OVERLAP = 0.25  # least overlap of tiles, as a fraction of a tile
DEFAULT_THRESHOLD = 0.5  # probability above which a pixel is in the mask
PICTURES = 12  # of each kind in a gallery
