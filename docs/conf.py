"""Builds the API reference and the guides; see README.md."""
