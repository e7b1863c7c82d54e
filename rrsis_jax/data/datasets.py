"""Prepared TFDS datasets: by name, with random access to the examples of a split."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import tensorflow_datasets as tfds

from rrsis_jax import errors
from rrsis_jax.data import input_pipeline, mixtures
from tfds_referring import packages
from tfds_referring.builder import TreeBuilder

Source = Sequence[dict[str, Any]]


def split_mixture(dataset: str, folder: str) -> list[tuple[str, str]]:
    """Returns the (dataset, folder) pairs of `data.dataset` and `data.folder`.

    Args:
      dataset: one dataset, or several joined by "+".
      folder: its folder, or one for each in order, separated by `os.pathsep`, "" for none.

    Raises:
      ValueError: there are not as many folders as datasets.
    """
    names = dataset.split("+")
    folders = folder.split(os.pathsep) if len(names) > 1 and folder else [folder]
    if folder and len(folders) != len(names):
        raise ValueError(
            f"data.dataset names {len(names)} datasets, but data.folder {len(folders)} folder(s): "
            f"{folder!r}. Give one for each, separated by {os.pathsep!r}, with nothing between the "
            "signs for a dataset that needs none."
        )
    return list(zip(names, folders if folder else [""] * len(names), strict=True))


def split_name(dataset: str) -> tuple[str, str]:
    """Returns name and config of `data.dataset`, such as "rrsisd/official" or "rrsisd".

    Raises:
      ValueError: it is unknown.
    """
    name, slash, kind = dataset.partition("/")
    builder = packages.builder_class(name)
    kind = kind if slash else builder.DEFAULT_BUILDER_CONFIG_NAME
    if kind not in builder.builder_configs:
        known = ", ".join(f"{name}/{config}" for config in builder.builder_configs)
        raise ValueError(f"data.dataset is {dataset!r}; known are {known}.")
    return name, kind


def needs_folder(name: str, kind: str) -> bool:
    """Tells whether a dataset has to be given a folder: it is neither downloaded nor rendered."""
    return kind == "folder" or issubclass(packages.builder_class(name), TreeBuilder)


def check_config(config: ml_collections.ConfigDict) -> None:
    """Refuses settings of another dataset.

    Raises:
      ValueError: the configuration states one pixel size for images of many, or has weights for
        another number of datasets.
    """
    names = config.data.dataset.split("+")
    if config.data.weights and len(config.data.weights) != len(names):
        raise ValueError(
            f"data.weights has {len(config.data.weights)} numbers, but data.dataset "
            f"{len(names)} dataset(s). Give one for each, or none."
        )
    for name, kind in map(split_name, names):
        _check_distance(config.data.ground_sampling_distance, name, kind)


def _check_distance(distance: float, name: str, kind: str) -> None:
    mixed = issubclass(packages.builder_class(name), TreeBuilder) and kind != "folder"
    if mixed and distance:
        raise ValueError(
            f"data.ground_sampling_distance is {distance:.4g}, but the images of {name} have many "
            "pixel sizes; give --config.data.ground_sampling_distance=0."
        )


def prepare(
    dataset: str, data_dir: str = "", folder: str = ""
) -> tfds.core.DatasetBuilder | mixtures.Mixture:
    """Returns the builder of a dataset, or of several joined by "+", prepared for random access.

    Args:
      dataset: such as "rrsisd", "refsegrs/official" or "refsegrs/official+rrsisd".
      data_dir: TFDS's folder of prepared datasets; "" for ~/tensorflow_datasets.
      folder: the user's folder in the dataset's layout, where the dataset takes one; of several
        datasets their folders in order, separated by ":" (on Windows ";").

    Raises:
      ValueError: if a dataset is unknown, or its folder is missing or has faults.
    """
    pairs = split_mixture(dataset, folder)
    builders = [input_pipeline._prepare_one(name, data_dir, path) for name, path in pairs]
    return builders[0] if len(builders) == 1 else mixtures.Mixture(builders)


def open_split(builder: tfds.core.DatasetBuilder, split: str, decode: bool = True) -> Source:
    """Returns random access to the examples of a split.

    Args:
      builder: made by `prepare`.
      split: `train`, `validation` or `test`.
      decode: False leaves image and mask as their encoded bytes, to read the text alone.

    Raises:
      ValueError: if the dataset has no such split.
    """
    if not builder.info.splits:
        raise ValueError(
            f"{builder.data_path} is no whole dataset: it has no split. Delete that folder; the "
            "next start prepares it anew."
        )
    if split not in builder.info.splits:
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"There is no split {split!r} in {builder.info.full_name}; it has {known}."
        )
    skip = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}
    return _Split(builder, split, None if decode else skip)


class _Split(Sequence):
    """Examples by position; says which files cannot be read, and what to do then."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, decoders: Any):
        self._place = f"The split {split!r} in {builder.data_path}"
        with self._named():
            self._source = builder.as_data_source(split=split, decoders=decoders)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._named():
            return self._source[index]

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # array_record, TFDS and Pillow each raise their own kinds
            raise ValueError(
                f"{self._place} cannot be read: {errors.first_line(error)}. Delete that folder; "
                "the next start prepares it anew."
            ) from error


def phrases(source: Source) -> list[str]:
    """Returns the phrases of a split in order; open the split with `decode=False` to be fast."""
    return [text(example["expression"]) for example in source]


def text(value: str | bytes) -> str:
    """Returns a text feature as str; TFDS's random access hands out bytes."""
    return value.decode() if isinstance(value, bytes) else value
