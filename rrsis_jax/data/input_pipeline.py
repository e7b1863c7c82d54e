"""From a prepared TFDS dataset to numpy batches: one function for training, one for evaluation.

Both read by position (Grain over TFDS's array_record files), so any batch can be produced from its
number alone: a resumed run starts at its step and needs no saved iterator. A global batch is the
same for every number of hosts; each host reads its share of it.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import grain
import jax
import numpy as np
import tensorflow_datasets as tfds

from rrsis_jax import constants, errors
from rrsis_jax.data import datasets, mixtures, transforms
from rrsis_jax.data.datasets import Source
from rrsis_jax.data.geometry import Geometry
from rrsis_jax.data.tokenizers.wordpiece import PhraseTokenizer
from rrsis_jax.data.views import tokenize_views
from rrsis_jax.types import Batch

Augment = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def _prepare_one(dataset: str, data_dir: str, folder: str) -> tfds.core.DatasetBuilder:
    """Returns the builder of `dataset`, prepared for random access.

    The array_record files stand in their own folder beside the tfrecord files of `tfds.load`.

    """
    name, kind = datasets.split_name(dataset)
    if not folder and datasets.needs_folder(name, kind):
        raise ValueError(
            f"data.dataset is {dataset!r}; say which: --config.data.folder=/path/to/folder."
        )
    dataset = f"{name}/{kind}"
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
            f"The prepared dataset in {root / name} cannot be opened: "
            f"{errors.first_line(error)}. Delete that folder; the next start prepares it anew."
        ) from error
    return builder


def make_train(
    source: Source,
    tokenizer: PhraseTokenizer,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    weights: Sequence[float] = (),
    sizes: Sequence[int] = (),
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
      weights: how often the parts of a mixture are drawn from, see `mixtures.training_order`; none
        for as often as they have samples.
      sizes: of these parts.
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
    if weights:
        order = mixtures.training_order(sizes, weights, seed)
    else:
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
    raw = {**raw, "expression": datasets.text(raw["expression"]), "index": int(index)}
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


def _reading(num_threads: int, prefetch: int) -> grain.ReadOptions:
    # Grain counts its buffer in samples of the last map-style dataset, here batches.
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
