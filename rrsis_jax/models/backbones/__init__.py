"""Pretrained encoders, each with its network and the names of its weights elsewhere."""
