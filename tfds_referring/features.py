"""The features of a referring sample, named alike in every dataset."""

from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds


def triplet(
    categories: Sequence[str], **extras: tfds.features.FeatureConnector
) -> tfds.features.FeaturesDict:
    """Returns the six features that every dataset has, and `extras`.

    Args:
      categories: label names of `category`.
      **extras: what one dataset has beside them.

    Returns:
      `image`, uint8 (height, width, 3), in the bytes of its own file where these are JPEG or PNG;
      `mask`, uint8 (height, width, 1), 1 where the phrase is meant, else 0; `expression`;
      `image_id`, unique within a split; `category`; `scene`, which samples of one place share and
      which should not cross splits.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "mask": tfds.features.Image(
                shape=(None, None, 1), encoding_format="png", use_colormap=True
            ),
            "expression": tfds.features.Text(),
            "image_id": tfds.features.Text(),
            "category": tfds.features.ClassLabel(names=list(categories)),
            "scene": tfds.features.Text(),
            **extras,
        }
    )


def category(info: Any) -> tfds.features.ClassLabel:
    """Returns the feature `category`, which maps labels to numbers and back.

    Args:
      info: a builder's, or what has `features` too; TFDS says that these may be anything.
    """
    return info.features["category"]
