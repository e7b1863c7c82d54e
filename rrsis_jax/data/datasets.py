"""Prepared TFDS datasets: by name, with random access to the examples of a split."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import ml_collections
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core import constants as tfds_constants

from rrsis_jax import errors
from rrsis_jax.data.mixtures import Mixture
from rrsis_jax.types import Source
from tfds_referring import copies, packages
from tfds_referring.builder import TreeBuilder


def prepare(
    dataset: str, data_dir: str = "", folder: str = "", foreground: str = ""
) -> tfds.core.DatasetBuilder | Mixture:
    """Returns the builder of a dataset, or of several joined by "+", prepared for random access.

    The array_record files stand in their own folder beside the tfrecord files of `tfds.load`.

    Args:
      dataset: such as "rrsisd", "refsegrs/official" or "refsegrs/official+rrsisd".
      data_dir: TFDS's folder of prepared datasets; "" for ~/tensorflow_datasets.
      folder: the user's folder in the dataset's layout, where the dataset takes one; of several
        datasets their folders in order, separated by ":" (on Windows ";").
      foreground: which pixels of the masks in RefSegRS's layout are the target: "above 50",
        "nonzero" or one value; "" for the dataset's own rule.

    Raises:
      ValueError: if a dataset is unknown, its folder is missing or has faults, or `foreground` is
        given and no dataset takes it.
    """
    pairs = split_mixture(dataset, folder)
    if foreground and not any(_takes_foreground(part) for part, _ in pairs):
        raise ValueError(
            f"data.foreground is {foreground!r}, but {dataset} knows which pixels of its masks are "
            "the target; it is for refsegrs/official and refsegrs/folder. Give "
            "--config.data.foreground=."
        )
    root = pathlib.Path(data_dir or tfds_constants.DATA_DIR).expanduser() / "array_record"
    builders = []
    for part, path in pairs:
        _check_folder(part, path)
        chosen = foreground if _takes_foreground(part) else ""
        builders.append(_prepare_part(part, root, path=path, foreground=chosen))
    return builders[0] if len(builders) == 1 else Mixture(builders)


def _takes_foreground(dataset: str) -> bool:
    name, kind = split_name(dataset)
    config = packages.builder_class(name).builder_configs[kind]
    return hasattr(config, "foreground") and kind != "synthetic"  # whose masks are drawn


def _check_folder(dataset: str, folder: str) -> None:
    if not folder and needs_folder(*split_name(dataset)):
        raise ValueError(
            f"data.dataset is {dataset!r}; say which: --config.data.folder=/path/to/folder."
        )
    if folder and not pathlib.Path(folder).expanduser().is_dir():
        raise ValueError(
            f"data.folder is {str(folder)!r}, which is no folder. Say where the data are now: "
            "--config.data.folder=/path/to/folder (rrsis-report and rrsis-compare: --folder)."
        )


def _prepare_part(dataset: str, root: pathlib.Path, **options: str) -> tfds.core.DatasetBuilder:
    """Returns the builder of one dataset; `options` are its own arguments, "" for none."""
    name, kind = split_name(dataset)
    chosen = {key: value for key, value in options.items() if value}
    # Not `tfds.builder`, which puts all these arguments in front of every message.
    builder_class = packages.builder_class(name)
    make = partial(builder_class, config=kind, data_dir=root, file_format="array_record", **chosen)
    try:
        builder = make()
        try:
            if not builder.is_prepared():
                with contextlib.redirect_stdout(io.StringIO()):  # bars tell the same
                    builder.download_and_prepare()
                _tell_of_old_copies(root, name)
        except FileExistsError:  # another process was preparing the same data and finished first
            builder = make()
            if not builder.is_prepared():
                raise
    except (ValueError, OSError):  # with words of their own
        raise
    except Exception as error:  # TFDS hands on what its parsers raise
        raise ValueError(
            f"The prepared dataset in {root / name} cannot be opened: "
            f"{errors.first_line(error)}. Delete that folder; the next start prepares it anew."
        ) from error
    return builder


def _tell_of_old_copies(root: pathlib.Path, dataset: str) -> None:
    old = [copy for copy in copies.find(root, [dataset]) if copy.state == copies.OLD]
    if old:
        logging.info(
            "%d old prepared copies take %s; `rrsis-dataset copies --data_dir %s` lists them.",
            len(old),
            copies.megabytes(old),
            root.parent,
        )


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
    """Tells whether a dataset needs a folder: it is neither downloaded nor rendered."""
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
    distance = config.data.ground_sampling_distance
    if distance and (name := of_many_resolutions(config.data.dataset)):
        raise ValueError(
            f"data.ground_sampling_distance is {distance:.4g}, but the images of {name} have many "
            "pixel sizes; give --config.data.ground_sampling_distance=0."
        )


def of_many_resolutions(dataset: str) -> str:
    """Returns the first dataset of `data.dataset` whose images have many pixel sizes, or ""."""
    for name, kind in map(split_name, dataset.split("+")):
        if issubclass(packages.builder_class(name), TreeBuilder) and kind != "folder":
            return name
    return ""


def open_split(
    builder: tfds.core.DatasetBuilder | Mixture, split: str, decode: bool = True
) -> Source:
    """Returns random access to the examples of a split.

    Args:
      builder: made by `prepare`.
      split: `train`, `validation` or `test`; of a mixture also a part's own, as `test_rrsisd`.
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


class _Split:
    """Examples by position; says which files cannot be read, and what to do then."""

    def __init__(self, builder: tfds.core.DatasetBuilder | Mixture, split: str, decoders: Any):
        self._place = f"The split {split!r} in {builder.data_path}"
        with self._named():
            self._source: Any = builder.as_data_source(split=split, decoders=decoders)

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
