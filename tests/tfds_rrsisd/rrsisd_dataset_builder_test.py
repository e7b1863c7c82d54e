"""TFDS's own checks of the builder on its dummy data."""

import pathlib
from unittest import mock

import tensorflow_datasets as tfds

import tfds_rrsisd
from tests.tfds_referring.made_trees import COUNTS


class BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """The official config, whose counts are those of the dummy data here."""

    DATASET_CLASS = tfds_rrsisd.Builder
    EXAMPLE_DIR = pathlib.Path(tfds_rrsisd.__file__).parent / "dummy_data"
    BUILDER_CONFIG_NAMES_TO_TEST = ("official",)
    SPLITS = COUNTS["rrsisd"]

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(tfds_rrsisd.Builder, "COUNTS", COUNTS["rrsisd"])
        patched.start()
        self.addCleanup(patched.stop)

    def test_session(self, **options):
        return super().test_session(**options)

    test_session.__test__ = False  # a helper of tf.test.TestCase that pytest takes for a test
