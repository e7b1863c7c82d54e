"""The TFDS builder `uavid_ris` and its configs."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_referring import refer_builder
from tfds_referring.refer_builder import ReferConfig
from tfds_uavid_ris.categories import CLASS_NAMES


class Builder(refer_builder.ReferBuilder):
    """Image, phrase and mask triplets of `uavid_ris`; README.md tells the configs apart."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        ReferConfig(name="official", description="UAVid-RIS with the phrases of refs(uow).p."),
        ReferConfig(
            name="official_llama",
            text="llama",
            description="UAVid-RIS with the phrases of refs_llama(uow).p.",
        ),
        refer_builder.FOLDER,
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    UAVid-RIS has to be put together by hand: its text, refs(uow).p, refs_llama(uow).p and
    instances.json, is on huggingface.co/datasets/lironui/UAVid-RIS; its images are cut from UAVid
    (uavid.nl, with the labels of all splits) by tool/image_split_uavid.py of AeroReformer. Put them
    into one folder, as uavid_ris/*.p, uavid_ris/instances.json, images/uavid_ris/PNGimages/*.png;
    other trees of these files serve too. Give the folder as `builder_kwargs={"path": ...}`, or as
    `manual_dir`.
    """
    HOMEPAGE = "https://huggingface.co/datasets/lironui/UAVid-RIS"
    CLASS_NAMES = CLASS_NAMES
    REFS: ClassVar = {"": ("refs(uow).p",), "llama": ("refs_llama(uow).p",)}
    FOLDERS = ("uavid_ris",)

    def scene_of(self, stem: str) -> str:
        """Returns the sequence of a crop: "seq16_000100_3_Low_Vegetation" gives "seq16"."""
        return stem.partition("_")[0]
