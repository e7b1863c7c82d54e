"""Encoders of images and of text, each with its known weights."""
