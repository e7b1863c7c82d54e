"""From a prepared TFDS dataset to numpy batches: one function for training, one for evaluation.

Both read by position (Grain over TFDS's array_record files), so any batch can be produced from its
number alone: a resumed run starts at its step and needs no saved iterator. A global batch is the
same for every number of hosts; each host reads its share of it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np

from rrsis_jax import constants
from rrsis_jax.data import datasets, transforms
from rrsis_jax.data.geometry import Geometry
from rrsis_jax.data.inputs import Inputs, Tokenizer
from rrsis_jax.data.stored_rows import StoredRows
from rrsis_jax.data.views import tokenize_views
from rrsis_jax.types import Batch, Source

Augment = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def make_train(
    source: Source,
    tokenizer: Tokenizer,
    *,
    inputs: Inputs,
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    weights: Sequence[float] = (),
    sizes: Sequence[int] = (),
    rows: StoredRows | None = None,
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
      inputs: what a sample consists of.
      batch_size: global batch size; divides by the number of hosts.
      seed: of the shuffle and of `augment`.
      augment: changes an example at random, see `augmentation`; None leaves it.
      weights: how often the parts of a mixture are drawn from, see `training_order`; none for
        as often as they have samples.
      sizes: of these parts; with `rows` the numbers of their samples that have a usable one.
      rows: what the samples have beside their images; those without a usable row are left out.
      start_step: the number of the first batch.
      num_threads: threads that decode ahead.
      prefetch: batches held ready.

    Yields:
      Batches as in `types.Batch`, uint8 images.

    Raises:
      ValueError: if the split has fewer samples than a batch.
    """
    samples = rows.samples if rows else range(len(source))
    if len(samples) < batch_size:
        raise ValueError(
            f"The training split has {len(samples)} sample(s), fewer than one batch of "
            f"{batch_size}. Lower train.batch_size."
        )
    change = augment or (lambda example, _: example)
    hosts, host = jax.process_count(), jax.process_index()
    if weights:
        order = training_order(sizes, weights, seed)
    else:
        order = grain.MapDataset.range(len(samples)).seed(seed).shuffle().repeat()

    def load(i: int, rng: np.random.Generator) -> dict[str, Any]:
        index = int(samples[i])
        example = make_example(
            source, index, tokenizer, inputs, lambda example: change(example, rng)
        )
        return {**example, "arrays": rows.draw(index, rng)} if rows else example

    # Host h takes every hosts-th sample from the h-th on: batch k of all hosts is global batch k.
    # The generator belongs to a sample's place in the global order, whatever host reads it.
    mine = order.random_map(load)[host::hosts]
    batches = mine.batch(batch_size // hosts, drop_remainder=True)[start_step:]
    return iter(batches.to_iter_dataset(_reading(num_threads, prefetch)))


def training_order(sizes: Sequence[int], weights: Sequence[float], seed: int) -> grain.MapDataset:
    """Returns the endless order in which the samples of a mixture are trained on.

    Each part is shuffled anew in every pass over it; how often each is drawn from follows its
    weight exactly, at any length. Any position can be asked for, so a run resumes by its step.

    Args:
      sizes: of the parts' training splits.
      weights: one for each part.
      seed: of the shuffles.
    """
    ends = list(itertools.accumulate(sizes))
    passes = [
        grain.MapDataset.range(end - size, end).seed(seed + place).shuffle().repeat()
        for place, (end, size) in enumerate(zip(ends, sizes, strict=True))
    ]
    return grain.MapDataset.mix(passes, weights=list(weights)).seed(seed)


def make_eval(
    source: Source,
    tokenizer: Tokenizer,
    *,
    inputs: Inputs,
    batch_size: int,
    views: Sequence[Geometry] = (),
    num_threads: int = 8,
    prefetch: int = 8,
) -> Iterator[Batch]:
    """Yields this host's share of a split once, in order.

    The last batch is filled with the first sample under the index `constants.PADDING_INDEX`, so
    that every real sample is counted exactly once on any number of hosts and devices.

    Args:
      source: random access to the examples of a split.
      tokenizer: phrases to ids.
      inputs: what a sample consists of.
      batch_size: global batch size; divides by the number of hosts.
      views: of test-time averaging; the batches get what `views.tokenize_views` makes of them.
      num_threads: threads that decode ahead.
      prefetch: batches held ready.

    Yields:
      Batches as in `types.Batch`, uint8 images.
    """
    hosts, host = jax.process_count(), jax.process_index()
    padded = -(-len(source) // batch_size) * batch_size
    mine = grain.MapDataset.range(padded)[host::hosts]

    def load(i: int) -> dict[str, Any]:
        if i < len(source):
            return make_example(source, i, tokenizer, inputs, views=views)
        filling = make_example(source, 0, tokenizer, inputs, views=views)
        return {**filling, "index": np.int32(constants.PADDING_INDEX)}

    batches = mine.map(load).batch(batch_size // hosts)
    return iter(batches.to_iter_dataset(_reading(num_threads, prefetch)))


def make_example(
    source: Source,
    index: int,
    tokenizer: Tokenizer,
    inputs: Inputs,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    views: Sequence[Geometry] = (),
) -> dict[str, Any]:
    """Reads one sample: resized images and target, tokens, its index in the split.

    `change` acts on the stored image, mask and phrase, before all that. `views` add tokens, see
    `tokenize_views`.
    """
    raw = source[int(index)]
    raw = {**raw, "expression": datasets.text(raw["expression"]), "index": int(index)}
    if change:
        raw = change(raw)
    phrase = raw["expression"]
    return {
        **({"views": tokenize_views(phrase, tokenizer, views)} if views else {}),
        "images": {
            name: transforms.resize_image(raw["image"], image.size)
            for name, image in inputs.images.items()
        },
        "target": transforms.resize_mask(raw["mask"][..., 0], inputs.target_size),
        "text": tokenizer(phrase),
        "index": np.int32(index),
    }


def _reading(num_threads: int, prefetch: int) -> grain.ReadOptions:
    # Grain counts its buffer in samples of the last map-style dataset, here batches.
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
