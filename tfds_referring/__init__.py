"""What datasets of referring segmentation share: features, file layouts, masks, the builder's base.

Nothing in here runs code that a file brings along: see `restricted_pickle` and `run_length`.
"""
