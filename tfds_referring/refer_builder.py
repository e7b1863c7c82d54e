"""The base of the builders of REFER's layout, and its config for any folder in that layout."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from tfds_referring import refer_files, refer_samples, trees
from tfds_referring.builder import TreeBuilder, TreeConfig
from tfds_referring.class_names import ClassNames
from tfds_referring.refer_files import Annotation, Instances, Ref
from tfds_referring.refer_samples import SENTENCES
from tfds_referring.samples import Sample, shown

_INSTANCES = ("instances.json", "new_instances.json")
_PICKLES = (".p", ".pkl", ".pickle")


@dataclasses.dataclass(eq=False)
class ReferConfig(TreeConfig):
    """What a config is made from.

    Attributes:
      sentences: of a reference: "all", each a sample, or the "first".
      remove_specks: whether to remove the dots around masks, see `specks`.
      text: which of the tree's texts is read, where it has several; for the config `folder` a
        pickle's file name.
    """

    sentences: str = "all"
    remove_specks: bool = False
    text: str = ""


FOLDER = ReferConfig(
    name="folder",
    official=False,
    description="Any folder in REFER's layout: a pickle of refs, instances.json, images.",
)
"""The config that reads RRSIS-HR, NWPU-Refer, RemoteSAM-270K or one's own; takes `path`."""


class ReferBuilder(TreeBuilder, skip_registration=True):
    """A dataset in REFER's layout, wherever in its tree the files lie."""

    REFS: ClassVar[Mapping[str, tuple[str, ...]]]  # the config's `text` → names of its pickle
    FOLDERS: ClassVar[tuple[str, ...]]  # names that tell the dataset's files from its neighbours'
    builder_config: ReferConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        sentences: str | None = None,
        text: str | None = None,
        config: str | ReferConfig | None = None,
        **kwargs: Any,
    ):
        """Makes a builder whose config name tells its data apart from any other.

        Args:
          sentences: "all" or "first", see `ReferConfig`.
          text: see `ReferConfig`; for the config `folder`.
          config: config or its name; "official" by default.
          **kwargs: see `TreeBuilder`.

        Raises:
          LayoutError: `path` is not a folder.
          ValueError: an argument does not fit the config.
        """
        if sentences or text:
            config = _customised(self.config_named(config, ReferConfig), sentences, text)
        super().__init__(config=config, **kwargs)

    def class_names(self) -> ClassNames:
        """Returns the dataset's classes; for the config `folder` those of its JSON.

        Raises:
          ValueError: the config `folder` has no path, or its JSON no classes.
        """
        config = self.builder_config
        if config.official:
            return self.CLASS_NAMES
        if not config.path:
            raise ValueError(
                f"{self.name}/{config.name} takes its classes from the folder: give it as "
                'builder_kwargs={"path": "/my/folder"}'
            )
        problems: list[str] = []
        file = self._instances_file(pathlib.Path(config.path), problems)
        if file is None:
            raise ValueError(f"{config.path}: {problems[0]}")
        return ClassNames(tuple(dict.fromkeys(refer_files.read_categories(file))))

    def extras(self) -> dict[str, tfds.features.FeatureConnector]:
        """Returns the features of REFER's layout."""
        return {
            "sentences": tfds.features.Sequence(tfds.features.Text()),
            "file_name": tfds.features.Text(),
            "ann_id": tfds.features.Text(),
        }

    def extra_values(self, ref: Ref, annotation: Annotation) -> dict[str, Any]:
        """Returns values of `extras` that only the dataset knows."""
        del ref, annotation
        return {}

    def scene_of(self, stem: str) -> str:
        """Returns the scene of an image's name without suffix; every image is one by default."""
        return stem

    def read_refs(self, root: pathlib.Path, instances: Instances, problems: list[str]) -> list[Ref]:
        """Returns the references of the pickle that the config names."""
        del instances
        config = self.builder_config
        if config.official:
            wanted = self.REFS[config.text]
            pickles = trees.files(root, lambda name: name in wanted)
            what = f"file {' or '.join(wanted)}"
        else:
            pickles = trees.files(root, lambda name: name.lower().endswith(_PICKLES))
            pickles = [file for file in pickles if config.text in ("", file.name)]
            what = "pickles of refs (the option `text` names one)"
        file = trees.choose(pickles, root, what, problems, self.FOLDERS)
        return refer_files.read_refs(file, problems) if file else []

    def check(self, instances: Instances, problems: list[str]) -> None:
        """Reports what is wrong with the JSON of an official dataset."""
        for label in instances.categories.values():
            if self.CLASS_NAMES.spelled(label) is None:
                problems.append(
                    f"{instances.name}: the class {shown(label)} is none of {self.name}'s "
                    f"({', '.join(self.CLASS_NAMES.names)}); the config `folder` takes any"
                )

    def read_samples(self, root: pathlib.Path, problems: list[str]) -> list[Sample]:
        """Returns the samples of a tree without opening an image."""
        config = self.builder_config
        file = self._instances_file(root, problems)
        instances = (
            refer_files.read_instances(file, problems) if file else Instances("", {}, {}, {})
        )
        if config.official:
            self.check(instances, problems)
        refs = self.read_refs(root, instances, problems)
        names = [image.file_name for image in instances.images.values()]
        images = trees.image_folder(root, names, problems, self.FOLDERS) if names else None
        if not refs or images is None:
            return []
        return refer_samples.samples(
            refs,
            instances,
            images,
            problems,
            class_names=self.class_names(),
            scene_of=self.scene_of,
            sentences=config.sentences,
            remove_specks=config.remove_specks,
            extras=lambda ref, annotation: {
                "sentences": list(ref.sentences),
                "file_name": instances.images[ref.image_id].file_name,
                "ann_id": str(ref.ann_id),
                **self.extra_values(ref, annotation),
            },
        )

    def _instances_file(self, root: pathlib.Path, problems: list[str]) -> pathlib.Path | None:
        candidates = trees.files(root, lambda name: name in _INSTANCES)
        what = f"file {' or '.join(_INSTANCES)}"
        return trees.choose(candidates, root, what, problems, self.FOLDERS)


def _customised(base: ReferConfig, sentences: str | None, text: str | None) -> ReferConfig:
    """Returns `base` with the user's options and a name that depends on them."""
    if sentences not in (None, *SENTENCES):
        raise ValueError(f"sentences is {sentences!r}; expected one of {', '.join(SENTENCES)}")
    if text and base.official:
        raise ValueError(
            f"config {base.name!r} knows its files, but text is {text!r}; use another config"
        )
    digest = text and hashlib.sha256(text.encode()).hexdigest()[:6]  # a name of a file is no name
    return dataclasses.replace(
        base,
        name="_".join(filter(None, (base.name, sentences, digest))),
        sentences=sentences or base.sentences,
        text=text or base.text,
    )
