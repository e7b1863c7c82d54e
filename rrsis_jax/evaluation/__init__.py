"""From a split to numbers, masks and a table of samples."""
