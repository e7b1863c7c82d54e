"""A split to counts and predictions: evaluation on all devices, every sample once."""

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any, TypeVar

import jax
import numpy as np
import tqdm.auto

from rrsis_jax import constants
from rrsis_jax.data import annotations, datasets, geometry, run_data, transforms
from rrsis_jax.data.inputs import MAIN
from rrsis_jax.distributed import parallel
from rrsis_jax.evaluation import eval_step, mask_files, metrics, native_protocol
from rrsis_jax.evaluation.sample_table import Sample
from rrsis_jax.models.contract import Model
from rrsis_jax.types import Batch, Device, Source, Variables

_IN_FLIGHT = 2  # batches that the devices have to do while the host counts the one before
_WORKERS = min(16, (os.cpu_count() or 1) + 1)  # threads: Pillow computes without the GIL
_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Counts:
    """Pixel counts of each sample of a split, in the split's order.

    Attributes:
      intersection: int32 (n,).
      union: int32 (n,).
    """

    intersection: np.ndarray
    union: np.ndarray

    def summary(self) -> dict[str, float]:
        """Returns the metrics of the `paper` protocol, see `metrics.summarize`."""
        return metrics.summarize(self.intersection, self.union, metrics.EMPTY_SCORES["paper"])


@dataclasses.dataclass(frozen=True)
class Prediction:
    """One sample with what the model made of it, at the evaluation's image size.

    Attributes:
      index: place in the split.
      phrase: the referring expression.
      image: uint8 (H, W, 3).
      target: uint8 (H, W) of 0/1.
      mask: uint8 (H, W) of 0/1, the predicted one.
    """

    index: int
    phrase: str
    image: np.ndarray
    target: np.ndarray
    mask: np.ndarray


class Evaluator:
    """Evaluates variables of one model on the splits of one dataset.

    The step is compiled at the first call and reused.
    """

    def __init__(
        self,
        model: Model,
        data: run_data.RunData,
        devices: Sequence[Device] | None = None,
        views: Sequence[geometry.Geometry] = (),
    ):
        """Maps the evaluation step over the devices.

        Args:
          model: what predicts.
          data: the dataset and tokenizer.
          devices: which devices compute; all by default.
          views: of test-time averaging, see `test_time_augmentation`; none for the plain answer.
        """
        self.model, self.data = model, data
        self._devices, self._views = devices, tuple(views)
        step = functools.partial(eval_step.eval_step, model=model, views=self._views)
        backend = data.config.distributed.backend
        self._step = parallel.mapped(step, devices=devices, backend=backend)

    def averaging(self, views: Sequence[geometry.Geometry]) -> "Evaluator":
        """Returns an evaluator like this one that averages over `views`; itself if that is it."""
        if tuple(views) == self._views:
            return self
        return Evaluator(self.model, self.data, self._devices, views)

    def counts(self, variables: Variables, split: str, shuffle_phrases: bool = False) -> Counts:
        """Counts pixels over a whole split; every sample exactly once on any device count.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.
          shuffle_phrases: the language check, see `data.language_check`.

        Returns:
          The counts of all samples, on every host, under the `paper` protocol.
        """
        source = self.data.shuffled(split) if shuffle_phrases else self.data.source(split)
        name = f"{split}, phrases shuffled" if shuffle_phrases else split
        counts = [_global_counts(result) for _, result in self._results(variables, source, name)]
        return _in_order(counts, len(source))

    def none_rate(self, variables: Variables, split: str) -> float:
        """Returns how often a phrase that names nothing gets an empty mask, from 0 to 1.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`; see `no_target`.

        Raises:
          ValueError: if every image of the split shows all kinds of things that phrases name.
        """
        source = self.data.absent(split)
        if not len(source):
            raise ValueError(
                f"Every image of the split {split!r} shows all that its phrases name, so none is "
                "absent from any. Set eval.absent_phrases to False."
            )
        results = self._results(variables, source, f"{split}, absent phrases")
        counts = _in_order([_global_counts(result) for _, result in results], len(source))
        return float(np.mean(counts.union == 0))

    def samples(
        self, variables: Variables, split: str, masks_folder: pathlib.Path | None = None
    ) -> list[Sample]:
        """Evaluates a whole split under both protocols, in one pass.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.
          masks_folder: the folder that every predicted mask is written to, see `mask_files.save`;
            None to write none. Each host writes its own share.

        Returns:
          All samples of the split in its order, on every host.
        """
        described = annotations.describe(self.data.builder, split)
        if masks_folder:
            masks_folder.mkdir(parents=True, exist_ok=True)
        paper, local = [], []
        with futures.ThreadPoolExecutor(_WORKERS) as pool:
            for batch, result in self._results(variables, self.data.source(split), split):
                paper.append(_global_counts(result))
                local.append(_native_counts(batch, result, described, masks_folder, pool))
        everywhere = parallel.gather_hosts(_join(local))
        counts = (_in_order(paper, len(described)), _in_order([everywhere], len(described)))
        return [_sample(index, described[index], *counts) for index in range(len(described))]

    def log_odds(
        self, variables: Variables, split: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields what the model makes of a whole split, in parts, on every host.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.

        Yields:
          Places in the split (b,), log-odds and targets (b, S, S).
        """
        for batch, result in self._results(variables, self.data.source(split), split):
            arrays = (batch["index"], result["log_odds"], batch["target"])
            places, *maps = parallel.gather_hosts(tuple(map(_unshard, arrays)))
            real = places != constants.PADDING_INDEX
            yield places[real], maps[0][real], maps[1][real]

    def predictions(
        self, variables: Variables, split: str, indices: Sequence[int]
    ) -> list[Prediction]:
        """Returns the predictions of some samples of a split, on every host.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.
          indices: which samples.
        """
        source = self.data.source(split)
        predictions = {}
        for batch, result in self._results(variables, _Subset(source, indices), "pictures"):
            arrays = (batch["index"], batch["images"][MAIN], batch["target"], result["prediction"])
            everywhere = parallel.gather_hosts(tuple(map(_unshard, arrays)))
            for place, image, target, mask in zip(*everywhere, strict=True):
                if place != constants.PADDING_INDEX:
                    index = int(indices[place])
                    phrase = datasets.text(source[index]["expression"])
                    predictions[place] = Prediction(index, phrase, image, target, mask)
        return [predictions[place] for place in range(len(indices))]

    def spread(self, split: str, count: int) -> list[int]:
        """Returns up to `count` indices spread evenly over a split."""
        size = self.data.num_samples(split)
        return [int(i) for i in np.linspace(0, size - 1, min(count, size)).round()]

    def _results(
        self, variables: Variables, source: Source, name: str
    ) -> Iterator[tuple[Batch, dict[str, jax.Array]]]:
        """Yields the sharded batches of a split with what `eval_step.eval_step` makes of them."""
        batches = parallel.device_batches(
            self.data.eval_batches(source, self._views), devices=self._devices
        )
        dispatched = ((batch, self._step(variables, batch)) for batch in batches)
        with tqdm.auto.tqdm(total=len(source), desc=name, unit="sample", leave=False) as bar:
            for batch, result in _ahead(dispatched, _IN_FLIGHT):
                yield batch, result
                real = np.asarray(result["index"][0]) != constants.PADDING_INDEX
                bar.update(int(np.sum(real)))


def _ahead(results: Iterator[_Item], count: int) -> Iterator[_Item]:
    """Yields items while the next `count` are begun already, so that devices need not wait."""
    begun = collections.deque()
    for item in results:
        begun.append(item)
        if len(begun) > count:
            yield begun.popleft()
    yield from begun


class _Subset:
    """Some samples of a split."""

    def __init__(self, source: Source, indices: Sequence[int]):
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[int(self._indices[index])]


def _unshard(x: jax.Array) -> np.ndarray:
    """(devices, b, …) to (devices · b, …) on the host."""
    array = np.asarray(x)
    return array.reshape((-1, *array.shape[2:]))


def _global_counts(result: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    # Every device holds the global counts; the first one's are fetched.
    return {key: np.asarray(result[key][0]) for key in ("index", "intersection", "union")}


def _native_counts(
    batch: Batch,
    result: dict[str, jax.Array],
    described: Sequence[annotations.Description],
    masks_folder: pathlib.Path | None,
    pool: futures.Executor,
) -> dict[str, np.ndarray]:
    """Counts this host's share of a batch at the masks' own sizes; padding counts nothing."""
    indices, predictions = _unshard(batch["index"]), _unshard(result["prediction"])
    real = np.flatnonzero(indices != constants.PADDING_INDEX)
    encoded = [described[index].encoded_mask for index in indices[real]]
    targets = list(pool.map(annotations.decode_mask, encoded))
    resized = any(target.shape != predictions.shape[1:] for target in targets)
    # Margins are fetched from the devices only where a mask has another size.
    margins = _unshard(result["log_odds"]) if resized else predictions

    def count(place: int, target: np.ndarray) -> tuple[int, int]:
        own = prediction = predictions[place]
        if target.shape != prediction.shape:
            own = transforms.resize_margin(margins[place], target.shape) > 0
        if masks_folder:
            mask_files.save(masks_folder, int(indices[place]), prediction, own)
        return native_protocol.intersection_and_union(own, target)

    counts = np.zeros((2, len(indices)), np.int32)
    counts[:, real] = np.reshape(list(pool.map(count, real, targets)), (-1, 2)).T
    return {"index": indices, "intersection": counts[0], "union": counts[1]}


def _join(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _in_order(parts: Sequence[dict[str, np.ndarray]], num_samples: int) -> Counts:
    joined = _join(parts)
    real = joined["index"] != constants.PADDING_INDEX
    order = np.argsort(joined["index"][real], kind="stable")
    if not np.array_equal(joined["index"][real][order], np.arange(num_samples)):
        raise ValueError(
            f"Expected each of {num_samples} samples once, got {int(real.sum())} results for "
            f"{len(np.unique(joined['index'][real]))} different samples."
        )
    return Counts(joined["intersection"][real][order], joined["union"][real][order])


def _sample(index: int, described: annotations.Description, paper: Counts, own: Counts) -> Sample:
    return Sample(
        index=index,
        image_id=described.image_id,
        tile=described.tile,
        phrase=described.phrase,
        category=described.category,
        form=described.form,
        size=described.size,
        target_share=described.target_share,
        paper_intersection=int(paper.intersection[index]),
        paper_union=int(paper.union[index]),
        native_intersection=int(own.intersection[index]),
        native_union=int(own.union[index]),
        target=described.target,
    )
