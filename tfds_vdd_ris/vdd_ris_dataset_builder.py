"""The TFDS builder `vdd_ris` and its configs."""

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_referring import refer_builder
from tfds_referring.refer_builder import ReferConfig
from tfds_vdd_ris.categories import CLASS_NAMES


class Builder(refer_builder.ReferBuilder):
    """Image, phrase and mask triplets of `vdd_ris`; README.md tells the configs apart."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        ReferConfig(name="official", description="VDD-RIS with the phrases of refs(uow).p."),
        ReferConfig(
            name="official_llama",
            text="llama",
            description="VDD-RIS with the phrases of refs_llama(uow).p.",
        ),
        refer_builder.FOLDER,
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    VDD-RIS has to be put together by hand: its text, refs(uow).p, refs_llama(uow).p and
    instances.json, is on huggingface.co/datasets/lironui/VDD-RIS; its images are cut from
    huggingface.co/datasets/RussRobin/VDD by tool/image_split_vdd.py of AeroReformer. Put them into
    one folder, as vdd_ris/*.p, vdd_ris/instances.json, images/vdd_ris/PNGimages/*.png; other trees
    of these files serve too. Give the folder as `builder_kwargs={"path": ...}`, or as `manual_dir`.
    """
    HOMEPAGE = "https://huggingface.co/datasets/lironui/VDD-RIS"
    CLASS_NAMES = CLASS_NAMES
    REFS: ClassVar = {"": ("refs(uow).p",), "llama": ("refs_llama(uow).p",)}
    FOLDERS = ("vdd_ris",)

    def scene_of(self, stem: str) -> str:
        """Returns the photograph of a crop: "train_DJI_0008_1_roof" gives "train_DJI_0008"."""
        return stem.rsplit("_", 2)[0]
