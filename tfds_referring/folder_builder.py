"""The base of the builders that read a folder of the user's.

Everything that is wrong with a folder is told at once, before TFDS creates anything. A config is
named after the content of its folder, so that a changed or another folder is prepared anew.
"""

import dataclasses
import os
import pathlib
from abc import abstractmethod
from typing import Any, TypeVar

import tensorflow_datasets as tfds

from tfds_referring import copies
from tfds_referring.phrase_files import LayoutError


@dataclasses.dataclass(eq=False)
class FolderConfig(tfds.core.BuilderConfig):
    """What a config is made from.

    Attributes:
      path: the folder to read; None for TFDS's `manual_dir`, or a download.
    """

    path: str | None = None


Config = TypeVar("Config", bound=FolderConfig)


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A dataset that a folder holds; a subclass says how it is read."""

    DEFAULT_BUILDER_CONFIG_NAME = "official"
    builder_config: FolderConfig  # pyright: ignore[reportIncompatibleMethodOverride] - may be None

    def __init__(self, *, config: str | FolderConfig | None = None, **kwargs: Any):
        """Makes a builder.

        Args:
          config: config or its name; "official" by default.
          **kwargs: for `tfds.core.GeneratorBasedBuilder`: data_dir, version, file_format.
        """
        self._checked: Any = None
        super().__init__(config=config, **kwargs)

    @abstractmethod
    def read(self, folder: str | os.PathLike[str]) -> Any:
        """Reads and checks a folder, opening every image and mask.

        Raises:
          LayoutError: lists everything that is wrong.
        """

    @staticmethod
    @abstractmethod
    def fingerprint(folder: pathlib.Path) -> str:
        """Returns what tells a folder's content apart in the names of configs."""

    @classmethod
    def config_named(cls, config: str | Config | None, kind: type[Config]) -> Config:
        """Returns the config, of the builder's own kind, that takes options.

        Raises:
          ValueError: there is no config of this name.
        """
        if isinstance(config, kind):
            return config
        name = str(config or cls.DEFAULT_BUILDER_CONFIG_NAME)
        known = cls.builder_configs.get(name)
        if not isinstance(known, kind):
            raise ValueError(
                f"config {name!r} takes no options; expected one of {list(cls.builder_configs)}"
            )
        return known

    @classmethod
    def config_of_folder(cls, config: Config, path: str | os.PathLike[str]) -> Config:
        """Returns the config for a folder, named "<config>_<fingerprint>".

        Raises:
          LayoutError: it is not a folder.
        """
        folder = pathlib.Path(path).expanduser().absolute()
        if not folder.is_dir():
            raise LayoutError(folder, ["is not a folder; give the one that holds the dataset"])
        return dataclasses.replace(
            config,
            name=f"{config.name}_{cls.fingerprint(folder)}",
            description=f"{copies.READ_FROM}{folder}",
            path=str(folder),
        )

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
        if folder and self.reads_files and not self.data_path.exists():
            self._checked = self.read(folder)
        super().download_and_prepare(download_config=download_config, **kwargs)

    @property
    def reads_files(self) -> bool:
        """Whether the config has a folder at all."""
        return True

    def locate(self, dl_manager: tfds.download.DownloadManager) -> str | os.PathLike[str]:
        """Returns the folder to read."""
        return self.builder_config.path or dl_manager.manual_dir

    def content(self, dl_manager: tfds.download.DownloadManager) -> Any:
        """Returns what `read` returns of the folder, which is read once."""
        return self._checked or self.read(self.locate(dl_manager))
