"""TFDS's own checks of the builder on its dummy data."""

import pathlib
from typing import ClassVar
from unittest import mock

import tensorflow_datasets as tfds

import tfds_risbench
from tests.tfds_referring.made_trees import COUNTS


class BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """The official config, whose counts are those of the dummy data here."""

    DATASET_CLASS = tfds_risbench.Builder
    EXAMPLE_DIR = pathlib.Path(tfds_risbench.__file__).parent / "dummy_data"
    BUILDER_CONFIG_NAMES_TO_TEST = ("official",)
    SPLITS: ClassVar = {**COUNTS["risbench"], "train": 2}  # one is left out

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(tfds_risbench.Builder, "COUNTS", COUNTS["risbench"])
        patched.start()
        self.addCleanup(patched.stop)

    def test_session(self, **options):
        return super().test_session(**options)

    test_session.__test__ = False  # a helper of tf.test.TestCase that pytest takes for a test
