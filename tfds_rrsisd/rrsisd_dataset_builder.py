"""The TFDS builder `rrsisd` and its configs."""

import pathlib
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_referring import refer_builder, trees
from tfds_referring.refer_builder import ReferConfig
from tfds_referring.refer_files import Annotation, Instances, Ref
from tfds_rrsisd import xml_files
from tfds_rrsisd.categories import CLASS_NAMES
from tfds_rrsisd.known_faults import KNOWN_FAULTS


class Builder(refer_builder.ReferBuilder):
    """Image, phrase and mask triplets of `rrsisd`; README.md tells the configs apart."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        ReferConfig(name="official", description="RRSIS-D less 27 records that peers leave out."),
        ReferConfig(name="official_complete", complete=True, description="All of RRSIS-D."),
        ReferConfig(
            name="official_despeckled",
            remove_specks=True,
            description="`official` without the dots that JPEG left around its masks.",
        ),
        ReferConfig(
            name="official_xml",
            text="xml",
            description="`official` with the text of the XML files.",
        ),
        refer_builder.FOLDER,
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    RRSIS-D has to be downloaded by hand: refs(unc).p, instances.json, JPEGImages.zip and
    ann_split.zip from the folder 1Xqi3Am2Vgm4a5tHqiV9tfaqKNovcuK3A of Google Drive, linked from
    github.com/Lsan2401/RMSIN (`gdown --folder` fetches them). Unpack them into one folder, as
    rrsisd/refs(unc).p, rrsisd/instances.json, images/rrsisd/JPEGImages/*.jpg and, for the config
    official_xml, images/rrsisd/ann_split/*.xml; other trees of these files serve too. Give the
    folder as `builder_kwargs={"path": ...}`, or as `manual_dir`.
    """
    HOMEPAGE = "https://github.com/Lsan2401/RMSIN"
    CLASS_NAMES = CLASS_NAMES
    COUNTS: ClassVar = {"train": 12181, "validation": 1740, "test": 3481}
    KNOWN_FAULTS = KNOWN_FAULTS
    REFS: ClassVar = {"": ("refs(unc).p",)}
    FOLDERS = ("rrsisd",)

    def extras(self) -> dict[str, tfds.features.FeatureConnector]:
        """Returns the features of REFER's layout and the box: x_min, y_min, x_max, y_max."""
        if not self.builder_config.official:
            return super().extras()
        return {**super().extras(), "box": tfds.features.Tensor(shape=(4,), dtype=np.float32)}

    def extra_values(self, ref: Ref, annotation: Annotation) -> dict[str, Any]:
        """Returns the box of official data."""
        return {"box": np.array(annotation.box, np.float32)} if self.builder_config.official else {}

    def check(self, instances: Instances, problems: list[str]) -> None:
        """Reports foreign classes and annotations without a box."""
        super().check(instances, problems)
        problems += [
            f"{instances.name}: annotation {ann_id} has no bbox"
            for ann_id, annotation in instances.annotations.items()
            if annotation.box is None
        ]

    def read_refs(self, root: pathlib.Path, instances: Instances, problems: list[str]) -> list[Ref]:
        """Returns the references of the pickle, or of the XML files."""
        if self.builder_config.text != "xml":
            return super().read_refs(root, instances, problems)
        places = [place for place in trees.folders(root) if place.name == "ann_split"]
        folder = trees.choose(places, root, "folder ann_split", problems, self.FOLDERS)
        return xml_files.read_refs(folder, instances, problems) if folder else []
