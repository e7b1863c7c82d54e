"""TFDS's own checks of the builder on its dummy data."""

import pathlib
from unittest import mock

import tensorflow_datasets as tfds

import tfds_vdd_ris
from tests.tfds_referring.made_trees import COUNTS


class BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """The official config, whose counts are those of the dummy data here."""

    DATASET_CLASS = tfds_vdd_ris.Builder
    EXAMPLE_DIR = pathlib.Path(tfds_vdd_ris.__file__).parent / "dummy_data"
    BUILDER_CONFIG_NAMES_TO_TEST = ("official",)
    SPLITS = COUNTS["vdd_ris"]

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(tfds_vdd_ris.Builder, "COUNTS", COUNTS["vdd_ris"])
        patched.start()
        self.addCleanup(patched.stop)

    def test_session(self, **options):
        return super().test_session(**options)

    test_session.__test__ = False  # a helper of tf.test.TestCase that pytest takes for a test
