"""What is known of each sample of a split without a model: names, phrase, category, sizes."""

import dataclasses
import hashlib
import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from rrsis_jax.data import datasets
from rrsis_jax.data.mixtures import Mixture
from tfds_referring import features, phrase_forms, target_sizes

ORDERS = {"form": phrase_forms.FORMS, "size": target_sizes.SIZES}
"""The values of `form` and `size` in their natural order."""


@dataclasses.dataclass(frozen=True)
class Description:
    """One sample.

    Attributes:
      image_id: the dataset's name of the sample.
      tile: 12 hexadecimal digits of the image's bytes; samples of one image share them.
      phrase: the referring expression.
      category: the class that the phrase names.
      form: `class`, `attribute` or `relation`.
      size: the target's size class, see `tfds_referring.target_sizes`.
      target_share: the target's share of the mask's pixels, at the mask's own size.
      target: 12 hexadecimal digits of the mask's size and pixels.
      encoded_mask: the mask as PNG; see `decode_mask`.
    """

    image_id: str
    tile: str
    phrase: str
    category: str
    form: str
    size: str
    target_share: float
    target: str
    encoded_mask: bytes = dataclasses.field(repr=False)


def describe(builder: tfds.core.DatasetBuilder | Mixture, split: str) -> list[Description]:
    """Describes every sample of a split, in its order.

    Args:
      builder: made by `datasets.prepare`.
      split: `train`, `validation` or `test`.

    Raises:
      ValueError: if the dataset has no such split.
    """
    name_of = features.category(builder.info).int2str
    source = datasets.open_split(builder, split, decode=False)
    descriptions = []
    for example in source:
        phrase = datasets.text(example["expression"])
        category = name_of(int(example["category"]))
        mask = decode_mask(example["mask"])
        share = float(np.mean(mask))
        descriptions.append(
            Description(
                image_id=datasets.text(example["image_id"]),
                tile=hashlib.sha256(example["image"]).hexdigest()[:12],
                phrase=phrase,
                category=category,
                form=phrase_forms.form_of(phrase, category),
                size=target_sizes.size_of(share),
                target_share=share,
                target=_digest(mask),
                encoded_mask=example["mask"],
            )
        )
    return descriptions


def decode_mask(encoded: bytes) -> np.ndarray:
    """Returns a mask as uint8 (H, W) of 0/1, at its own size."""
    return (np.asarray(Image.open(io.BytesIO(encoded))) > 0).astype(np.uint8)


def _digest(mask: np.ndarray) -> str:
    digest = hashlib.sha256(str(mask.shape).encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()[:12]
