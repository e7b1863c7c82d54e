"""The TFDS builder `refsegrs` and its configs."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_referring import foreground, images, phrase_files
from tfds_referring.folder_builder import FolderBuilder, FolderConfig
from tfds_refsegrs import categories
from tfds_refsegrs.synthetic.triplets import make_scene, split_scenes

URL = "https://huggingface.co/datasets/JessicaYuan/RefSegRS/resolve/main/RefSegRS.zip"
OFFICIAL_COUNTS = {"train": 2172, "validation": 431, "test": 1817}


@dataclasses.dataclass(eq=False)
class RefSegRSConfig(FolderConfig):
    """What a config of `refsegrs` is made from.

    Attributes:
      source: "official", "folder" or "synthetic".
      foreground: which pixels of the masks are the target, see `foreground.rule`; None for those
        above 50, if the values of all masks leave no doubt about it.
      num_scenes: synthetic scenes of train, validation and test.
      size: side of a synthetic scene in pixels.
      seed: seed of the synthetic scenes; the same seed gives the same bytes.
    """

    source: str = "official"
    foreground: str | None = None
    num_scenes: tuple[int, int, int] = (200, 24, 48)
    size: int = 128
    seed: int = 0


class Builder(FolderBuilder):
    """Image, phrase and mask triplets of `refsegrs`; README.md tells the configs apart."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First release.",
        "1.1.0": "Masks in doubt are refused; images are turned as their EXIF orientation says.",
    }
    BUILDER_CONFIGS: ClassVar = [
        RefSegRSConfig(
            name="official",
            source="official",
            foreground=foreground.ABOVE_50,  # the authors' rule
            description="RefSegRS: 4,420 aerial triplets.",
        ),
        RefSegRSConfig(
            name="folder", source="folder", description="Any folder in RefSegRS's file layout."
        ),
        RefSegRSConfig(
            name="synthetic", source="synthetic", description="Aerial scenes rendered on the spot."
        ),
    ]
    builder_config: RefSegRSConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    `folder`: give the folder as `builder_kwargs={"path": ...}`, or as `manual_dir`. It holds
    images/, masks/ and output_phrase_{train,val,test}.txt.
    `official` is downloaded without either; to skip that, unpack RefSegRS.zip into
    `manual_dir` or give its folder as `path`.
    """

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | None = None,
        foreground: str | int | None = None,
        num_scenes: Iterable[int] | None = None,
        size: int | None = None,
        seed: int | None = None,
        config: str | RefSegRSConfig | None = None,
        **kwargs: Any,
    ):
        """Makes a builder whose config name tells its data apart from any other.

        Args:
          path: folder for the configs `folder` and `official`; names the config
            "<config>_<fingerprint>", so a changed or another folder is prepared anew.
          foreground: which pixels of a folder's masks are the target: "above 50", "nonzero" or
            one value; needed where the masks' values leave it in doubt.
          num_scenes: synthetic scenes of train, validation and test.
          size: side of a synthetic scene in pixels.
          seed: seed of the synthetic scenes.
          config: config or its name; "official" by default.
          **kwargs: for `tfds.core.GeneratorBasedBuilder`: data_dir, version, file_format.

        Raises:
          LayoutError: `path` is not a folder.
          ValueError: an argument does not fit the config.
        """
        scenes = None if num_scenes is None else tuple(num_scenes)
        rendering = {"num_scenes": scenes, "size": size, "seed": seed}
        rendering = {key: value for key, value in rendering.items() if value is not None}
        if path or rendering or foreground is not None:
            config = self._customised(
                self.config_named(config, RefSegRSConfig), path, foreground, rendering
            )
        super().__init__(config=config, **kwargs)

    @staticmethod
    def fingerprint(folder: pathlib.Path) -> str:
        """Returns what tells a folder's content apart in the names of configs."""
        return phrase_files.fingerprint(folder)

    @classmethod
    def _customised(
        cls,
        base: RefSegRSConfig,
        path: str | os.PathLike[str] | None,
        chosen: str | int | None,
        rendering: dict[str, Any],
    ) -> RefSegRSConfig:
        """Returns `base` with the user's options and a name that depends on them."""
        if base.source == "synthetic":
            return _rendered(base, {"path": path, "foreground": chosen}, rendering)
        if rendering:
            raise ValueError(
                f"config {base.name!r} reads files, but got {rendering}; num_scenes, size and seed "
                "are for the config `synthetic`"
            )
        config = cls.config_of_folder(base, path) if path else base
        if chosen is None:
            return config
        rule = foreground.rule(chosen)
        name = f"{config.name}_{rule.replace(' ', '')}"
        return dataclasses.replace(config, name=name, foreground=rule)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "mask": tfds.features.Image(
                        shape=(None, None, 1), encoding_format="png", use_colormap=True
                    ),
                    "expression": tfds.features.Text(),
                    "image_id": tfds.features.Text(),
                    "category": tfds.features.ClassLabel(names=list(categories.CATEGORIES)),
                }
            ),
            homepage="https://huggingface.co/datasets/JessicaYuan/RefSegRS",
        )

    @property
    def reads_files(self) -> bool:
        """Whether the config has a folder at all."""
        return self.builder_config.source != "synthetic"

    def read(self, folder: str | os.PathLike[str]) -> dict[str, list[phrase_files.Triplet]]:
        """Returns the triplets of each split, see `phrase_files.read_folder`."""
        official = self.builder_config.source == "official"
        expected_counts = OFFICIAL_COUNTS if official else None
        return phrase_files.read_folder(
            pathlib.Path(os.fspath(folder)), expected_counts, self.builder_config.foreground
        )

    def locate(self, dl_manager: tfds.download.DownloadManager) -> str | os.PathLike[str]:
        """Returns the folder to read; the official one is downloaded if none is named."""
        if self.builder_config.path or self.builder_config.source == "folder":
            return super().locate(dl_manager)
        return _unpacked_by_hand(dl_manager) or dl_manager.download_and_extract(URL)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        config = self.builder_config
        if not self.reads_files:
            return {
                split: self._synthetic_examples(numbers)
                for split, numbers in split_scenes(config.num_scenes).items()
            }
        triplets = self.content(dl_manager)
        return {split: self._generate_examples(part) for split, part in triplets.items() if part}

    def _generate_examples(
        self, triplets: Iterable[phrase_files.Triplet]
    ) -> Iterator[tuple[str, dict]]:
        for triplet in triplets:
            image = images.to_png(images.read_image(triplet.image))
            mask = images.read_mask(triplet.mask, self.builder_config.foreground)
            yield triplet.image_id, _example(image, mask, triplet.phrase, triplet.image_id)

    def _synthetic_examples(self, numbers: Iterable[int]) -> Iterator[tuple[str, dict]]:
        config = self.builder_config
        for number in numbers:
            scene = make_scene(config.seed, number, config.size)
            image = images.to_png(scene.image)
            for image_id, phrase, mask in scene.triplets:
                yield image_id, _example(image, mask, phrase, image_id)


def _unpacked_by_hand(dl_manager: tfds.download.DownloadManager) -> pathlib.Path | None:
    """Returns TFDS's manual folder if it holds the data; other datasets may use it too."""
    try:
        folder = pathlib.Path(os.fspath(dl_manager.manual_dir))
    except AssertionError:  # TFDS's way to say that there is none
        return None
    return folder if phrase_files.has_phrases(phrase_files.find_root(folder)) else None


def _example(image: bytes, mask: np.ndarray, phrase: str, image_id: str) -> dict[str, Any]:
    return {
        "image": image,
        "mask": images.to_png(mask),
        "expression": phrase,
        "image_id": image_id,
        "category": categories.category_of(phrase),
    }


def _rendered(
    base: RefSegRSConfig, reading: dict[str, Any], rendering: dict[str, Any]
) -> RefSegRSConfig:
    """Returns `base`, which renders, with the user's options and a name that depends on them."""
    options = [f"{key}={value!r}" for key, value in reading.items() if value is not None]
    if options:
        raise ValueError(
            f"config {base.name!r} renders its scenes and reads no folder, but "
            f"{', '.join(options)}; use the config `folder`"
        )
    config = dataclasses.replace(base, **rendering)
    counts = tuple(config.num_scenes)
    name = f"synthetic_{'-'.join(map(str, counts))}_size{config.size}_seed{config.seed}"
    return dataclasses.replace(config, name=name, num_scenes=counts)
