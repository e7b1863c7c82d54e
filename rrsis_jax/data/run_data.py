"""The data of a run: its dataset's splits and its tokenizer, opened as the config says."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import tensorflow_datasets as tfds

from rrsis_jax import constants, io
from rrsis_jax.data import (
    augmentation,
    datasets,
    geometry,
    input_pipeline,
    language_check,
    mixtures,
)
from rrsis_jax.data.datasets import Source
from rrsis_jax.data.no_target import AbsentPhrases, WithAbsentPhrases
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class RunData:
    """A prepared dataset with the run's tokenizer.

    Attributes:
      config: the whole configuration.
      builder: the prepared TFDS builder, or several as a mixture.
      tokenizer: phrases to ids.
    """

    config: ml_collections.ConfigDict
    builder: tfds.core.DatasetBuilder | mixtures.Mixture
    tokenizer: wordpiece.PhraseTokenizer

    @property
    def views(self) -> tuple[geometry.Geometry, ...]:
        """The views of test-time averaging that `eval.test_time` names; none for "none"."""
        name = self.config.eval.test_time
        return () if name == "none" else augmentation.GEOMETRIES[name]

    def num_samples(self, split: str) -> int:
        """Returns the size of a split."""
        return len(self.source(split))

    def source(self, split: str) -> Source:
        """Returns random access to a split, see `datasets.open_split`."""
        return datasets.open_split(self.builder, split)

    def shuffled(self, split: str) -> Source:
        """Returns a split whose samples carry each other's phrases, see `language_check`."""
        return language_check.ShuffledPhrases(
            self.source(split), self._undecoded(split), self.config.seed
        )

    def absent(self, split: str) -> Source:
        """Returns a split whose samples carry phrases that name nothing, see `absent_phrases`."""
        return WithAbsentPhrases(self.source(split), self._undecoded(split), self.config.seed)

    def _undecoded(self, split: str) -> Source:
        return datasets.open_split(self.builder, split, decode=False)

    def _augment(self) -> input_pipeline.Augment | None:
        config = self.config.data.augment
        draw = AbsentPhrases(self._undecoded("train")).draw if config.absent_phrases else None
        return augmentation.build_augment(config, draw)

    def _mixing(self) -> dict[str, Any]:
        """Returns how the parts of a mixture are drawn from, if the configuration weighs them."""
        weights = self.config.data.weights
        return {"weights": weights, "sizes": self.builder.sizes("train")} if weights else {}

    def evaluated(self, split: str) -> list[str]:
        """Returns the splits that a report has for one: of a mixture those of each part."""
        parts = isinstance(self.builder, mixtures.Mixture)
        return self.builder.evaluated(split) if parts else [split]

    def train_batches(self, start_step: int) -> Iterator[Batch]:
        """Returns the endless training batches from number `start_step` on."""
        return input_pipeline.make_train(
            self.source("train"),
            self.tokenizer,
            image_size=self.config.data.image_size,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            augment=self._augment(),
            **self._mixing(),
            start_step=start_step,
            num_threads=self.config.data.num_threads,
            prefetch=self.config.data.prefetch,
        )

    def eval_batches(
        self, source: Source, views: Sequence[geometry.Geometry] = ()
    ) -> Iterator[Batch]:
        """Returns the finite batches of a split opened by `source` or `shuffled`.

        `views` are those of test-time averaging.
        """
        return input_pipeline.make_eval(
            source,
            self.tokenizer,
            image_size=self.config.data.image_size,
            batch_size=self.config.eval.batch_size,
            views=views,
            num_threads=self.config.data.num_threads,
            prefetch=self.config.data.prefetch,
        )


def open_data(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> RunData:
    """Prepares the dataset and loads, or trains, the tokenizer.

    A trained vocabulary is stored in the workdir and read from there when the run goes on.

    Raises:
      ValueError: if the dataset or the tokenizer is not to be had, or the vocabulary is larger
        than the model's.
    """
    datasets.check_config(config)
    builder = datasets.prepare(config.data.dataset, config.data.data_dir, config.data.folder)
    text = config.model.text
    stored = workdir / constants.TOKENIZER_FOLDER
    name = config.data.tokenizer or text.pretrained
    if stored.is_dir():
        found = wordpiece.load(str(stored), text.max_tokens)
    elif name:
        found = wordpiece.load(name, text.max_tokens)
    else:
        source = datasets.open_split(builder, "train", decode=False)
        found = wordpiece.train(datasets.phrases(source), text.vocab_size, text.max_tokens)
    if found.vocab_size > text.vocab_size:
        raise ValueError(
            f"The tokenizer has {found.vocab_size} ids, model.text.vocab_size is "
            f"{text.vocab_size}. Set it to at least {found.vocab_size}."
        )
    if not stored.is_dir():
        with io.replacing_folder(stored) as partial:
            found.save(partial)
    return RunData(config, builder, found)
