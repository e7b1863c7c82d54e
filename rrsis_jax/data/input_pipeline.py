"""From a prepared TFDS dataset to numpy batches: one function for training, one for evaluation.

Both read by position (Grain over TFDS's array_record files), so any batch can be produced from its
number alone: a resumed run starts at its step and needs no saved iterator. A global batch is the
same for every number of hosts; each host reads its share of it.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import grain
import jax
import numpy as np
import tensorflow_datasets as tfds

import tfds_refsegrs
from rrsis_jax import constants, messages
from rrsis_jax.data import transforms
from rrsis_jax.data.geometry import Geometry
from rrsis_jax.data.tokenizer import PhraseTokenizer
from rrsis_jax.data.views import tokenize_views
from rrsis_jax.types import Batch

Source = Sequence[dict[str, Any]]
Augment = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def prepare(dataset: str, data_dir: str = "", folder: str = "") -> tfds.core.DatasetBuilder:
    """Returns the builder of `dataset`, prepared for random access.

    The array_record files stand in their own folder beside the tfrecord files of `tfds.load`.

    Args:
      dataset: `refsegrs/official`, `refsegrs/folder` or `refsegrs/synthetic`.
      data_dir: TFDS's folder of prepared datasets; "" for ~/tensorflow_datasets.
      folder: the user's folder in RefSegRS's layout, where the dataset takes one.

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
    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / "array_record"
    arguments = {"path": folder} if folder else {}
    make = partial(tfds.builder, dataset, data_dir=root, file_format="array_record", **arguments)
    try:
        builder = make()
        try:
            builder.download_and_prepare()
        except FileExistsError:  # another process was preparing the same data and finished first
            builder = make()
            if not builder.is_prepared():
                raise
    except (ValueError, OSError):  # with words of their own
        raise
    except Exception as error:  # TFDS hands on what its parsers raise
        raise ValueError(
            f"The prepared dataset in {root / 'refsegrs'} cannot be opened: "
            f"{messages.first_line(error)}. Delete that folder; the next start prepares it anew."
        ) from error
    return builder


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
                f"{self._place} cannot be read: {messages.first_line(error)}. Delete that folder; "
                "the next start prepares it anew."
            ) from error


def phrases(source: Source) -> list[str]:
    """Returns the phrases of a split in order; open the split with `decode=False` to be fast."""
    return [text(example["expression"]) for example in source]


def make_train(
    source: Source,
    tokenizer: PhraseTokenizer,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    start_step: int = 0,
    num_threads: int = 8,
    prefetch: int = 8,
) -> Iterator[Batch]:
    """Yields this host's share of global batches, without end.

    The whole split is shuffled anew in every pass; batches are complete and run across the seam
    of two passes, so no sample is left out.

    Args:
      source: random access to the examples of a split.
      tokenizer: phrases to ids.
      image_size: side of the square images and masks, in pixels.
      batch_size: global batch size; divides by the number of hosts.
      seed: of the shuffle and of `augment`.
      augment: changes an example at random, see `augmentation`; None leaves it.
      start_step: the number of the first batch.
      num_threads: threads that decode ahead.
      prefetch: batches kept ready.

    Yields:
      Batches as in `types.Batch`, uint8 images.

    Raises:
      ValueError: if the split has fewer samples than a batch.
    """
    if len(source) < batch_size:
        raise ValueError(
            f"The training split has {len(source)} sample(s), fewer than one batch of "
            f"{batch_size}. Lower train.batch_size."
        )
    hosts, host = jax.process_count(), jax.process_index()
    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()

    def load(i: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return make_example(source, i, tokenizer, image_size, augment and partial(augment, rng=rng))

    # Host h takes every hosts-th sample from the h-th on: batch k of all hosts is global batch k.
    # The generator belongs to a sample's place in the global order, whatever host reads it.
    mine = order.random_map(load)[host::hosts]
    batches = mine.batch(batch_size // hosts, drop_remainder=True)[start_step:]
    return iter(batches.to_iter_dataset(_reading(num_threads, prefetch)))


def make_eval(
    source: Source,
    tokenizer: PhraseTokenizer,
    *,
    image_size: int,
    batch_size: int,
    views: Sequence[Geometry] = (),
    num_threads: int = 8,
    prefetch: int = 8,
) -> Iterator[Batch]:
    """Yields this host's share of a split once, in order.

    The last batch is filled with samples of index `constants.PADDING_INDEX`, so that every real
    sample is seen exactly once on any number of hosts and devices.

    Args:
      source: random access to the examples of a split.
      tokenizer: phrases to ids.
      image_size: side of the square images and masks, in pixels.
      batch_size: global batch size; divides by the number of hosts.
      views: of test-time averaging; the batches get what `views.tokenize_views` makes of them.
      num_threads: threads that decode ahead.
      prefetch: batches kept ready.

    Yields:
      Batches as in `types.Batch`, uint8 images.
    """
    hosts, host = jax.process_count(), jax.process_index()
    padded = -(-len(source) // batch_size) * batch_size
    mine = grain.MapDataset.range(padded)[host::hosts]

    def load(i: int) -> dict[str, np.ndarray]:
        if i < len(source):
            return make_example(source, i, tokenizer, image_size, views=views)
        return _padding(tokenizer.max_tokens, image_size, len(views))

    batches = mine.map(load).batch(batch_size // hosts)
    return iter(batches.to_iter_dataset(_reading(num_threads, prefetch)))


def make_example(
    source: Source,
    index: int,
    tokenizer: PhraseTokenizer,
    image_size: int,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    views: Sequence[Geometry] = (),
) -> dict[str, np.ndarray]:
    """Reads one sample: resized image and mask, token ids, its index in the split.

    `change` acts on the stored image, mask and phrase, before all that. `views` add tokens, see
    `tokenize_views`.
    """
    raw = source[int(index)]
    raw = {**raw, "expression": text(raw["expression"]), "index": int(index)}
    if change:
        raw = change(raw)
    ids, attention_mask = tokenizer(raw["expression"])
    return {
        **(tokenize_views(raw["expression"], tokenizer, views) if views else {}),
        "image": transforms.resize_image(raw["image"], image_size),
        "mask": transforms.resize_mask(raw["mask"][..., 0], image_size),
        "input_ids": ids,
        "attention_mask": attention_mask,
        "index": np.int32(index),
    }


def _padding(max_tokens: int, image_size: int, num_views: int) -> dict[str, np.ndarray]:
    # Three "real" tokens keep the attention's normalisation well conditioned.
    mask = (np.arange(max_tokens) < 3).astype(np.int32)
    views = {
        "view_ids": np.zeros((num_views, max_tokens), np.int32),
        "view_mask": np.tile(mask, (num_views, 1)),
        "view_weight": np.ones(num_views, np.float32),
    }
    return {
        **(views if num_views else {}),
        "image": np.zeros((image_size, image_size, 3), np.uint8),
        "mask": np.zeros((image_size, image_size), np.uint8),
        "input_ids": np.zeros(max_tokens, np.int32),
        "attention_mask": mask,
        "index": np.int32(constants.PADDING_INDEX),
    }


def text(value: str | bytes) -> str:
    """Returns a text feature as str; TFDS's random access hands out bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _reading(num_threads: int, prefetch: int) -> grain.ReadOptions:
    # Grain counts its buffer in samples of the last map-style dataset, here batches.
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
