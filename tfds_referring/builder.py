"""The base of the builders of manually downloaded datasets: one tree of files, read and checked.

Records that an official dataset is known to be broken in do not stop it: they are left out by name.
"""

import dataclasses
import os
import pathlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging

from tfds_referring import features, samples, trees
from tfds_referring.class_names import ClassNames
from tfds_referring.folder_builder import FolderBuilder, FolderConfig
from tfds_referring.phrase_files import LayoutError
from tfds_referring.samples import LeftOut, Reading, Sample

MISSING_SHARE = 0.01
"""The share of an official dataset whose files may be missing, as parts of a download are."""


@dataclasses.dataclass(eq=False)
class TreeConfig(FolderConfig):
    """What a config is made from.

    Attributes:
      official: whether the files are the published ones: counts are checked, and records that are
        known to be broken are left out.
      complete: whether to keep those records; a fault is then one.
    """

    official: bool = True
    complete: bool = False


class TreeBuilder(FolderBuilder, skip_registration=True):
    """A dataset that is read from a tree of files which the user has unpacked.

    A subclass says where its class names, counts and known faults are, and how its files become
    samples.
    """

    CLASS_NAMES: ClassVar[ClassNames]
    COUNTS: ClassVar[Mapping[str, int]] = {}  # of the official splits, where they are known
    KNOWN_FAULTS: ClassVar[Mapping[str, str]] = {}  # image id → what is wrong, or who leaves it out
    HOMEPAGE: ClassVar[str]
    builder_config: TreeConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | None = None,
        config: str | TreeConfig | None = None,
        **kwargs: Any,
    ):
        """Makes a builder whose config name tells its data apart from any other.

        Args:
          path: the folder; names the config "<config>_<fingerprint>".
          config: config or its name; "official" by default.
          **kwargs: for `tfds.core.GeneratorBasedBuilder`: data_dir, version, file_format.

        Raises:
          LayoutError: `path` is not a folder.
          ValueError: there is no such config.
        """
        if path:
            config = self.config_of_folder(self.config_named(config, TreeConfig), path)
        super().__init__(config=config, **kwargs)

    @abstractmethod
    def read_samples(self, root: pathlib.Path, problems: list[str]) -> list[Sample]:
        """Returns the samples of a tree without opening an image.

        Args:
          root: the folder that the user gave.
          problems: gets a sentence for everything that is wrong.
        """

    def class_names(self) -> ClassNames:
        """Returns the classes of the feature `category`."""
        return self.CLASS_NAMES

    def extras(self) -> dict[str, tfds.features.FeatureConnector]:
        """Returns the features that the dataset has beside the six of `features.triplet`."""
        return {}

    def read(self, folder: str | os.PathLike[str]) -> Reading:
        """Reads and checks a tree, opening every image and mask.

        Args:
          folder: holds the dataset.

        Raises:
          LayoutError: lists everything that is wrong.
        """
        root = pathlib.Path(os.fspath(folder)).expanduser()
        if not root.is_dir():
            raise LayoutError(root, ["is not a folder; give the one that holds the dataset"])
        problems: list[str] = []
        every = self.read_samples(root, problems)
        self._check_counts(every, problems)
        reading = self._without_faults(every, problems)
        samples.check_ids(reading.samples, problems)
        samples.check_pixels([x for x in reading.samples if not x.missing], problems)
        if problems:
            raise LayoutError(root, problems)
        for left_out in reading.left_out:
            logging.warning("%s leaves out %s: %s", self.name, left_out.name, left_out.reason)
        return reading

    @staticmethod
    def fingerprint(folder: pathlib.Path) -> str:
        """Returns what tells a tree's content apart in the names of configs."""
        return trees.fingerprint(folder)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features.triplet(self.class_names().labels, **self.extras()),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        reading: Reading = self.content(dl_manager)
        metadata: Any = self.info.metadata  # there is some, see `_info`
        metadata["left_out"] = [dataclasses.asdict(x) for x in reading.left_out]
        return {name: self._generate_examples(part) for name, part in reading.splits().items()}

    def _generate_examples(self, part: Sequence[Sample]) -> Iterator[tuple[str, dict[str, Any]]]:
        for sample in part:
            yield sample.image_id, sample.encode()

    def _check_counts(self, every: Sequence[Sample], problems: list[str]) -> None:
        if not every and not problems:
            problems.append("holds no sample")
        expected = self.COUNTS if self.builder_config.official else {}
        counts = Counter(sample.split for sample in every)
        if expected and dict(counts) != dict(expected):
            problems.append(
                f"samples found {_listed(counts)}, expected {_listed(expected)}; if this is not "
                f"the official {self.name}, use the config `folder`"
            )

    def _without_faults(self, every: Sequence[Sample], problems: list[str]) -> Reading:
        """Sorts out what is known to be broken; anything else that is broken is a problem."""
        config = self.builder_config
        tolerant = config.official and not config.complete
        missing = {id(sample): sample.missing for sample in every}
        number = sum(map(bool, missing.values()))
        few = tolerant and number <= MISSING_SHARE * len(every)
        usable, left_out = [], []
        for sample in every:
            name = f"{sample.split}/{sample.image_id}"
            if tolerant and sample.image_id in self.KNOWN_FAULTS:
                left_out.append(LeftOut(name, self.KNOWN_FAULTS[sample.image_id]))
            elif not sample.phrase or not (config.complete or samples.words_in(sample.phrase)):
                reason = f"the phrase {samples.shown(sample.phrase)} has no word"
                if tolerant:
                    left_out.append(LeftOut(name, reason))
                else:
                    problems.append(f"{sample.where}: {reason}; say what is meant")
            elif missing[id(sample)]:
                reason = f"{' and '.join(missing[id(sample)])} missing"
                if few:
                    left_out.append(LeftOut(name, reason))
                else:
                    problems.append(
                        f"{sample.where}: {reason} (of {len(every)} samples "
                        f"{len(every) - number} have their files)"
                    )
            else:
                usable.append(sample)
        return Reading(tuple(usable), tuple(left_out))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items()) or "none"
