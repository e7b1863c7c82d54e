"""Prepared TFDS datasets: by name, with random access to the examples of a split."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

import tfds_refsegrs
from rrsis_jax import errors
from tfds_referring import copies

Source = Sequence[dict[str, Any]]


def prepare(
    dataset: str, data_dir: str = "", folder: str = "", foreground: str = ""
) -> tfds.core.DatasetBuilder:
    """Returns the builder of `dataset`, prepared for random access.

    The array_record files stand in their own folder beside the tfrecord files of `tfds.load`.

    Args:
      dataset: `refsegrs/official`, `refsegrs/folder` or `refsegrs/synthetic`.
      data_dir: TFDS's folder of prepared datasets; "" for ~/tensorflow_datasets.
      folder: the user's folder in RefSegRS's layout, where the dataset takes one.
      foreground: which pixels of its masks are the target: "above 50", "nonzero" or one value; ""
        for the dataset's own rule.

    Raises:
      ValueError: if the dataset is unknown, or the folder is missing or has faults.
    """
    kind = dataset.removeprefix("refsegrs/")
    known = tfds_refsegrs.Builder.builder_configs
    if dataset == kind or kind not in known:
        names = ", ".join(f"refsegrs/{name}" for name in known)
        raise ValueError(f"data.dataset is {dataset!r}; known are {names}.")
    if kind == "folder" and not folder:
        raise ValueError(
            "data.dataset is 'refsegrs/folder'; say which: --config.data.folder=/path/to/folder."
        )
    if folder and not pathlib.Path(folder).expanduser().is_dir():
        raise ValueError(
            f"data.folder is {str(folder)!r}, which is no folder. Say where the data are now: "
            "--config.data.folder=/path/to/folder (rrsis-report and rrsis-compare: --folder)."
        )
    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / "array_record"
    given = {"path": folder, "foreground": foreground}
    given = {key: value for key, value in given.items() if value}
    # Not `tfds.builder`, which puts all these arguments in front of every message.
    builder_class = tfds.builder_cls(dataset.partition("/")[0])
    make = partial(builder_class, config=kind, data_dir=root, file_format="array_record", **given)
    try:
        builder = make()
        try:
            if not builder.is_prepared():
                builder.download_and_prepare()
                _tell_of_old_copies(root)
        except FileExistsError:  # another process was preparing the same data and finished first
            builder = make()
            if not builder.is_prepared():
                raise
    except (ValueError, OSError):  # with words of their own
        raise
    except Exception as error:  # TFDS hands on what its parsers raise
        raise ValueError(
            f"The prepared dataset in {root / 'refsegrs'} cannot be opened: "
            f"{errors.first_line(error)}. Delete that folder; the next start prepares it anew."
        ) from error
    return builder


def _tell_of_old_copies(root: pathlib.Path) -> None:
    old = [copy for copy in copies.find(root) if copy.state == copies.OLD]
    if old:
        logging.info(
            "%d old prepared copies take %s; `rrsis-dataset copies --data_dir %s` lists them.",
            len(old),
            copies.megabytes(old),
            root.parent,
        )


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
