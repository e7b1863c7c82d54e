"""The base of the builders of manually downloaded datasets: one tree of files, read and checked.

Everything that is wrong with a tree is told at once, before TFDS creates anything. Records that an
official dataset is known to be broken in do not stop it: they are left out by name.
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

from tfds_referring import copies, features, samples, trees
from tfds_referring.class_names import ClassNames
from tfds_referring.phrase_files import LayoutError
from tfds_referring.refer_samples import SENTENCES
from tfds_referring.samples import LeftOut, Reading, Sample

MISSING_SHARE = 0.01
"""The share of an official dataset whose files may be missing, as parts of a download are."""


@dataclasses.dataclass(eq=False)
class TreeConfig(tfds.core.BuilderConfig):
    """What a config is made from.

    Attributes:
      official: whether the files are the published ones: counts are checked, and records that are
        known to be broken are left out.
      complete: whether to keep those records; a fault is then one.
      path: the folder to read; None for TFDS's `manual_dir`.
      sentences: of a reference: "all", each a sample, or the "first".
      remove_specks: whether to remove the dots around masks, see `specks`.
      text: which of the tree's texts is read, where it has several; for the config `folder` of
        REFER's layout a pickle's file name.
    """

    official: bool = True
    complete: bool = False
    path: str | None = None
    sentences: str = "all"
    remove_specks: bool = False
    text: str = ""


class TreeBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset that is read from a tree of files which the user has unpacked.

    A subclass says where its class names, counts and known faults are, and how its files become
    samples.
    """

    CLASS_NAMES: ClassVar[ClassNames]
    COUNTS: ClassVar[Mapping[str, int]] = {}  # of the official splits, where they are known
    KNOWN_FAULTS: ClassVar[Mapping[str, str]] = {}  # image id → what is wrong, or who leaves it out
    HOMEPAGE: ClassVar[str]
    builder_config: TreeConfig  # pyright: ignore[reportIncompatibleMethodOverride] - may be None
    DEFAULT_BUILDER_CONFIG_NAME = "official"

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | None = None,
        sentences: str | None = None,
        text: str | None = None,
        config: str | TreeConfig | None = None,
        **kwargs: Any,
    ):
        """Makes a builder whose config name tells its data apart from any other.

        Args:
          path: the folder; names the config "<config>_<fingerprint>", so a changed or another
            folder is prepared anew.
          sentences: "all" or "first", see `TreeConfig`.
          text: see `TreeConfig`; for the config `folder`.
          config: config or its name; "official" by default.
          **kwargs: for `tfds.core.GeneratorBasedBuilder`: data_dir, version, file_format.

        Raises:
          LayoutError: `path` is not a folder.
          ValueError: an argument does not fit the config.
        """
        if path or sentences or text:
            config = _customised(self._named_config(config), path, sentences, text)
        self._reading: Reading | None = None
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

    def download_and_prepare(
        self,
        *,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepares the dataset as every TFDS builder does, if it is not there yet.

        Args:
          download_config: see `tfds.core.DatasetBuilder.download_and_prepare`.
          **kwargs: see there.

        Raises:
          LayoutError: lists everything that is wrong with the folder. A folder given as `path` or
            `manual_dir` is checked before TFDS creates anything.
        """
        folder = self.builder_config.path or (download_config and download_config.manual_dir)
        if folder and not self.data_path.exists():
            self._reading = self.read(folder)
        super().download_and_prepare(download_config=download_config, **kwargs)

    @staticmethod
    def fingerprint(folder: pathlib.Path) -> str:
        """Returns what tells a folder's content apart in the names of configs without `text`."""
        return trees.fingerprint(folder)

    def _named_config(self, config: str | TreeConfig | None) -> TreeConfig:
        if isinstance(config, TreeConfig):
            return config
        name = str(config or self.DEFAULT_BUILDER_CONFIG_NAME)
        known = self.builder_configs.get(name)
        if not isinstance(known, TreeConfig):
            raise ValueError(
                f"config {name!r} takes no options; expected one of {list(self.builder_configs)}"
            )
        return known

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=features.triplet(self.class_names().labels, **self.extras()),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        reading = self._reading or self.read(self.builder_config.path or dl_manager.manual_dir)
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
        kept, left_out = [], []
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
                kept.append(sample)
        return Reading(tuple(kept), tuple(left_out))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items()) or "none"


def _customised(
    base: TreeConfig,
    path: str | os.PathLike[str] | None,
    sentences: str | None,
    text: str | None,
) -> TreeConfig:
    """Returns `base` with the user's options and a name that depends on them."""
    if sentences not in (None, *SENTENCES):
        raise ValueError(f"sentences is {sentences!r}; expected one of {', '.join(SENTENCES)}")
    if text and base.official:
        raise ValueError(
            f"config {base.name!r} knows its files, but text is {text!r}; use another config"
        )
    name, description = f"{base.name}_{sentences}" if sentences else base.name, base.description
    folder = pathlib.Path(path).expanduser().absolute() if path else None
    if folder:
        if not folder.is_dir():
            raise LayoutError(folder, ["is not a folder; give the one that holds the dataset"])
        name = f"{name}_{trees.fingerprint(folder, text or '')}"
        if not text:  # else nobody who sees the copy can compute its fingerprint
            description = f"{copies.READ_FROM}{folder}"
    return dataclasses.replace(
        base,
        name=name,
        description=description,
        path=str(folder) if folder else base.path,
        sentences=sentences or base.sentences,
        text=text or base.text,
    )
