"""A split to counts and predictions: evaluation on all devices, every sample once."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import tqdm

from rrsis_jax import constants, metrics, parallel, steps
from rrsis_jax.data import input_pipeline, splits
from rrsis_jax.data.input_pipeline import Source
from rrsis_jax.types import Variables


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
        return metrics.summarize(self.intersection, self.union)


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

    The step is compiled at the first call and kept.
    """

    def __init__(self, model: nn.Module, data: splits.RunData):
        """Maps the evaluation step over the devices.

        Args:
          model: a `ReferringSegmenter`.
          data: the dataset and tokenizer.
        """
        self._data = data
        self._step = parallel.pmap(functools.partial(steps.eval_step, model=model))

    def counts(self, variables: Variables, split: str, shuffle_phrases: bool = False) -> Counts:
        """Counts pixels over a whole split; every sample exactly once on any device count.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.
          shuffle_phrases: the language check, see `data.language_check`.

        Returns:
          The counts of all samples, on every host.
        """
        source = self._data.shuffled(split) if shuffle_phrases else self._data.source(split)
        name = f"{split}, phrases shuffled" if shuffle_phrases else split
        found = []
        with tqdm.tqdm(total=len(source), desc=name, unit="sample", leave=False) as bar:
            for batch in parallel.device_batches(self._data.eval_batches(source)):
                result = self._step(variables, batch)
                # Every device holds the global counts; the first one's are fetched.
                found.append(
                    {k: np.asarray(result[k][0]) for k in ("index", "intersection", "union")}
                )
                bar.update(int(np.sum(found[-1]["index"] != constants.PADDING_INDEX)))
        return _in_order({k: np.concatenate([f[k] for f in found]) for k in found[0]}, len(source))

    def predictions(
        self, variables: Variables, split: str, indices: Sequence[int]
    ) -> list[Prediction]:
        """Returns the predictions of some samples of a split, of this host's share.

        Args:
          variables: replicated `params` and `batch_stats`.
          split: `train`, `validation` or `test`.
          indices: which samples.
        """
        source = self._data.source(split)
        found = []
        for batch in parallel.device_batches(self._data.eval_batches(_Subset(source, indices))):
            result = self._step(variables, batch)
            arrays = (batch["index"], batch["image"], batch["mask"], result["prediction"])
            for place, image, target, mask in zip(*map(_unshard, arrays), strict=True):
                if place != constants.PADDING_INDEX:
                    phrase = input_pipeline.text(source[int(indices[place])]["expression"])
                    found.append(Prediction(int(indices[place]), phrase, image, target, mask))
        return found

    def spread(self, split: str, count: int) -> list[int]:
        """Returns up to `count` indices spread evenly over a split."""
        size = self._data.num_samples(split)
        return [int(i) for i in np.linspace(0, size - 1, min(count, size)).round()]


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


def _in_order(joined: dict[str, np.ndarray], num_samples: int) -> Counts:
    real = joined["index"] != constants.PADDING_INDEX
    order = np.argsort(joined["index"][real], kind="stable")
    if not np.array_equal(joined["index"][real][order], np.arange(num_samples)):
        raise ValueError(
            f"Expected each of {num_samples} samples once, got {int(real.sum())} results for "
            f"{len(np.unique(joined['index'][real]))} different samples."
        )
    return Counts(joined["intersection"][real][order], joined["union"][real][order])
