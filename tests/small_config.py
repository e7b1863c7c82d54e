"""The tiny run with the stand-in `tests.stand_ins.tiny` for a network."""

import ml_collections

import tests.stand_ins  # noqa: F401, names the stand-in
from tests import tiny_config


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration; it names no dataset."""
    return tiny_config.get_config("tiny")
