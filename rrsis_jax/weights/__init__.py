"""Import and export of known weights: Swin, BERT, LGCE and LAVT checkpoints."""
