"""The TFDS builder `risbench` and its configs."""

import pathlib
import re
from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_referring import phrase_layout
from tfds_referring.builder import TreeBuilder, TreeConfig
from tfds_referring.samples import Sample
from tfds_risbench.categories import CLASS_NAMES
from tfds_risbench.known_faults import KNOWN_FAULTS

_ID = re.compile(r"((?:train|test)_\d+)_\d+")


class Builder(TreeBuilder):
    """Image, phrase and mask triplets of `risbench`; README.md tells the configs apart."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        TreeConfig(name="official", description="RISBench less 16 records that a peer leaves out."),
        TreeConfig(name="official_complete", complete=True, description="All of RISBench."),
        TreeConfig(
            name="folder", official=False, description="Any folder in RISBench's file layout."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    RISBench has to be downloaded by hand, from the Baidu link (code wnxg) in
    github.com/HIT-SIRS/CroBIM. The folder holds img_rgb/*.png, mask/*.png and
    output_phrase_{train,val,test}.txt. Give it, or the one around it, as
    `builder_kwargs={"path": ...}`, or as `manual_dir`.
    """
    HOMEPAGE = "https://github.com/HIT-SIRS/CroBIM"
    CLASS_NAMES = CLASS_NAMES
    COUNTS: ClassVar = {"train": 26300, "validation": 10013, "test": 16159}
    KNOWN_FAULTS = KNOWN_FAULTS

    def read_samples(self, root: pathlib.Path, problems: list[str]) -> list[Sample]:
        """Returns the samples of a tree without opening an image."""
        return phrase_layout.samples(
            root, problems, class_names=self.CLASS_NAMES, scene_of=scene_of
        )


def scene_of(image_id: str) -> str:
    """Returns the image of VRSBench that a sample is about: "test_2_3" gives "test_2".

    Ids of another form come back unchanged.
    """
    match = _ID.fullmatch(image_id)
    return match[1] if match else image_id
