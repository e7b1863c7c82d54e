"""The data of a run: its dataset's splits and its tokenizer, opened as the config says."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from rrsis_jax import constants, io
from rrsis_jax.data import (
    augmentation,
    contents,
    datasets,
    geometry,
    input_pipeline,
    language_check,
    stored_rows,
    unread,
)
from rrsis_jax.data.inputs import Consumer, Inputs, Tokenizer
from rrsis_jax.data.mixtures import Mixture
from rrsis_jax.data.no_target import AbsentPhrases, WithAbsentPhrases
from rrsis_jax.data.stored_rows import StoredRows, check_augmentation
from rrsis_jax.types import Batch, Source


@dataclasses.dataclass(frozen=True)
class RunData:
    """A prepared dataset with the run's tokenizer.

    Attributes:
      config: the whole configuration.
      builder: the prepared TFDS builder, or several as a mixture.
      tokenizer: phrases to ids.
      inputs: what a sample consists of.
    """

    config: ml_collections.ConfigDict
    builder: tfds.core.DatasetBuilder | Mixture
    tokenizer: Tokenizer
    inputs: Inputs

    @functools.cached_property
    def prepared(self) -> contents.Prepared:
        """What the data hold."""
        return contents.read(self.builder, self.config.data.num_threads)

    @functools.cached_property
    def stored_rows(self) -> StoredRows | None:
        """What training samples have beside their images; None where the model asks for nothing.

        Raises:
          ValueError: see `StoredRows`, and if samples would be changed under their rows.
        """
        if not self.inputs.arrays:
            return None
        check_augmentation(self.config.data.augment)
        return StoredRows(self.config.data.arrays, self.inputs, self.num_samples("train"))

    @functools.cached_property
    def row_digests(self) -> dict[str, list[str]]:
        """SHA-256 of the files of the stored rows by their arrays; empty where there are none.

        Raises:
          ValueError: see `stored_rows.check_descriptions`.
        """
        if not self.inputs.arrays:
            return {}
        return stored_rows.check_descriptions(self.config.data.arrays, self.described("train"))

    def described(self, split: str) -> dict[str, dict[str, Any]]:
        """Returns what a split holds, of a mixture each of its parts, as JSON can hold it."""
        names = self.evaluated(split)
        return {name: dataclasses.asdict(self.prepared.splits[name]) for name in names}

    def keep(self, workdir: pathlib.Path) -> None:
        """Writes what the run knows its data by: the vocabulary, and the contents of the data."""
        stored = workdir / constants.TOKENIZER_FOLDER
        if not stored.is_dir():
            with io.replacing_folder(stored) as partial:
                self.tokenizer.save(partial)
        contents.save(workdir, self.prepared.splits)
        stored_rows.keep(workdir, self.row_digests)

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
        """Returns a split whose samples carry phrases that name nothing, see `no_target`."""
        return WithAbsentPhrases(self.source(split), self._undecoded(split), self.config.seed)

    def _undecoded(self, split: str) -> Source:
        return datasets.open_split(self.builder, split, decode=False)

    def _augment(self) -> input_pipeline.Augment | None:
        config = self.config.data.augment
        draw = self._absent_phrases().draw if config.absent_phrases else None
        return augmentation.build_augment(config, draw, self.config.seed)

    def _absent_phrases(self) -> AbsentPhrases:
        absent = AbsentPhrases(self._undecoded("train"))
        if not absent.any():
            raise ValueError(
                "Every image of the split 'train' shows all that its phrases name, so none is "
                "absent from any. Set data.augment.absent_phrases to 0."
            )
        return absent

    def _mixing(self) -> dict[str, Any]:
        """Returns how the parts of a mixture are drawn from, if the configuration weighs them."""
        weights = self.config.data.weights
        if not (weights and isinstance(self.builder, Mixture)):
            return {}
        sizes = self.builder.sizes("train")
        if self.stored_rows:
            ends = np.cumsum([0, *sizes])
            sizes = np.diff(np.searchsorted(self.stored_rows.samples, ends)).tolist()
        if 0 in sizes:
            name = list(self.builder.parts)[sizes.index(0)]
            raise ValueError(
                f"data.weights is {tuple(weights)}, but {name} has no training sample to give a "
                "share to. Leave data.weights or that dataset out."
            )
        return {"weights": weights, "sizes": sizes}

    def evaluated(self, split: str) -> list[str]:
        """Returns the splits that a report has for one: of a mixture those of each part."""
        return self.builder.evaluated(split) if isinstance(self.builder, Mixture) else [split]

    def train_batches(self, start_step: int) -> Iterator[Batch]:
        """Returns the endless training batches from number `start_step` on."""
        return input_pipeline.make_train(
            self.source("train"),
            self.tokenizer,
            inputs=self.inputs,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            augment=self._augment(),
            **self._mixing(),
            rows=self.stored_rows,
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
            inputs=self.inputs,
            batch_size=self.config.eval.batch_size,
            views=views,
            num_threads=self.config.data.num_threads,
            prefetch=self.config.data.prefetch,
        )


def open_data(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    model: Consumer,
    evaluated: str | None = None,
) -> RunData:
    """Prepares the dataset and loads, or trains, the tokenizer; checks both and writes nothing.

    A vocabulary and the contents of the data that the run has stored (see `RunData.keep`) are taken
    from the workdir. Phrases that the model will read in part are named in the log.

    Args:
      config: the whole configuration.
      workdir: the run's folder.
      model: says what a sample consists of.
      evaluated: the split that is evaluated; None to train, which uses all of them.

    Raises:
      ValueError: if the dataset or the tokenizer is not to be had, the vocabulary is larger than
        the model's, a split is missing, the data are not those that the run began with, or no
        training target has a pixel.
    """
    section = config.data
    datasets.check_config(config)
    builder = datasets.prepare(
        section.dataset, section.data_dir, section.folder, section.foreground
    )
    for name in [evaluated] if evaluated else builder.info.splits:
        datasets.open_split(builder, name, decode=False)
    if not evaluated:
        _check_trainable(builder)
    data = RunData(config, builder, _tokenizer(config, builder, workdir, model), model.inputs())
    names = data.evaluated(evaluated) if evaluated else list(data.prepared.splits)
    if not evaluated:
        _check_learnable(data)
        _check_stored_rows(data, workdir)
    _tell_of_no_targets(data, names)
    _check_same(data, workdir, names if evaluated else None, section.accept_changes)
    for name in names:
        for warning in unread.warnings(data.tokenizer, data.prepared.phrases[name], name):
            logging.warning("%s", warning)
    return data


def _check_trainable(builder: tfds.core.DatasetBuilder | Mixture) -> None:
    missing = [name for name in ("train", "validation") if name not in builder.info.splits]
    if missing:
        there = ", ".join(sorted(builder.info.splits))
        raise ValueError(
            f"The data have no split {missing[0]!r}, but training learns on 'train' and chooses "
            f"its checkpoint on 'validation'; they have {there}. Write lines into the phrase file "
            "of that split."
        )


def _check_learnable(data: RunData) -> None:
    """Refuses training masks without any target."""
    splits = [data.prepared.splits[name] for name in data.evaluated("train")]
    if not any(split.targets for split in splits):
        samples = sum(split.samples for split in splits)
        raise ValueError(
            f"No mask of the {samples} training samples has a pixel of its target, so there is "
            "nothing to learn. Look at the masks' values, and say which of them is the target: "
            "--config.data.foreground=nonzero, or one value."
        )


def _check_stored_rows(data: RunData, workdir: pathlib.Path) -> None:
    """Refuses stored rows that do not fit, or that the run did not begin with; counts them."""
    if not data.stored_rows:
        return
    changed = stored_rows.changed(workdir, data.row_digests)
    if changed and not data.config.data.accept_changes:
        keys = ", ".join(f"data.arrays.{name}" for name in changed)
        raise ValueError(
            f"The files of {keys} are not those that the run in {workdir} began with. Give them "
            "back, start anew with another --workdir, or go on with these: "
            "--config.data.accept_changes=True."
        )
    usable, samples = len(data.stored_rows.samples), data.num_samples("train")
    logging.info("%d of %d training samples have a usable stored row.", usable, samples)


def _tell_of_no_targets(data: RunData, names: Sequence[str]) -> None:
    for name in names:
        split = data.prepared.splits[name]
        if not split.targets:
            logging.warning(
                "%s: no mask of its %d samples has a pixel of a target.", name, split.samples
            )


def _check_same(
    data: RunData, workdir: pathlib.Path, names: Sequence[str] | None, accept_changes: bool
) -> None:
    """Refuses other data than those that the run in the workdir began with, unless accepted.

    Only the splits of these `names` count; None for all that the run had.
    """
    then = contents.load(workdir)
    if then is None:
        if (workdir / constants.CHECKPOINTS_FOLDER).is_dir():
            logging.warning("%s keeps no contents of its data to compare these with.", workdir)
        return
    compared = {name: part for name, part in then.items() if names is None or name in names}
    changes = contents.differences(compared, data.prepared.splits)
    if not changes:
        return
    where = data.config.data.folder or data.builder.data_path
    listing = "\n".join(f"  {change}" for change in changes)
    fault = f"The data in {where} are not those that the run in {workdir} began with:\n{listing}"
    if not accept_changes:
        raise ValueError(
            f"{fault}\nGive back the run's data (--config.data.folder=…), start anew with another "
            "--workdir, or go on with these: --config.data.accept_changes=True."
        )
    logging.warning("%s", fault)


def _tokenizer(
    config: ml_collections.ConfigDict,
    builder: tfds.core.DatasetBuilder | Mixture,
    workdir: pathlib.Path,
    model: Consumer,
) -> Tokenizer:
    stored = workdir / constants.TOKENIZER_FOLDER
    if stored.is_dir():
        return model.tokenizer(str(stored))
    source = datasets.open_split(builder, "train", decode=False)
    phrases = (datasets.text(example["expression"]) for example in source)  # read if needed
    return model.tokenizer(config.data.tokenizer, phrases)
