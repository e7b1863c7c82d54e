"""What every model answers: the seam between one network's folder and everything else.

A **Tree** is nested dictionaries or tuples of arrays that all begin with the batch axis B, so it
can be sharded, repeated, gathered and exported. S is the side of the square, N the number of token
positions. A training batch is

    {"images": {name: uint8 (B, s, s, 3)}, "text": Tree, "target": uint8 (B, S, S),
     "index": int32 (B,)[, "arrays": {name: (B, …)}]}

and the network, a Linen module with the collections `params` and `batch_stats`, has the methods

    encode_text(text, train=False) -> Tree          once a phrase
    encode_image(images, train=False) -> Tree       all that no phrase touches
    segment(image, text, train=False) -> Outputs
    __call__(images, text, train=False) -> Outputs      the three in a row

Where `Inputs.arrays` names stored rows, a training step gives them to `__call__` as `arrays`.
"""

import abc
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.data.inputs import Inputs, Tokenizer
from rrsis_jax.models.layers import tracing
from rrsis_jax.types import Array, Batch, Params, Variables
from rrsis_jax.weights.mapping import Report, WeightTable

Tree = Any
Path = tuple[str, ...]


@flax.struct.dataclass
class Outputs:
    """What a network says of each (image, phrase) pair.

    Attributes:
      log_odds: float32 or wider (B, S, S); a pixel is in the mask where it is above 0.
      presence: (B,), log-odds that the phrase names anything; None where the network has no say.
      aux: what losses and recorded outputs read, by name.
    """

    log_odds: jax.Array
    presence: jax.Array | None = None
    aux: Mapping[str, Any] = flax.struct.field(default_factory=dict)

    def answer(self) -> jax.Array:
        """Returns the log-odds (B, S, S), negative everywhere where the phrase names nothing."""
        if self.presence is None:
            return self.log_odds
        absent = self.presence[:, None, None] <= 0
        return jnp.where(absent, -jnp.abs(self.log_odds), self.log_odds)


@dataclasses.dataclass(frozen=True)
class Group:
    """How a parameter is optimised.

    Attributes:
      rate: factor of the learning rate.
      decay: factor of the weight decay.
    """

    rate: float = 1.0
    decay: float = 1.0


@dataclasses.dataclass(frozen=True)
class Part:
    """A pretrained part that the configuration names.

    Attributes:
      path: where it lies in `params`, as ("backbone",).
      source: file, folder or hub name.
      load: (source, shapes of that subtree) → (nested dictionaries of the leaves that it holds,
        report).
    """

    path: Path
    source: str
    load: Callable[[str, Params], tuple[Params, Report]]


class Model(abc.ABC):
    """One network with all that its callers ask; holds no arrays.

    Attributes:
      config: the whole configuration; a model reads its sections `model`, `loss` and
        `optim.groups`, and the size of its images.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config

    @property
    def name(self) -> str:
        """The model's name, that of its folder."""
        return self.config.model.name

    @abc.abstractmethod
    def problems(self) -> list[str]:
        """Returns one sentence for each value that does not fit the others."""

    @abc.abstractmethod
    def inputs(self) -> Inputs:
        """Returns what a sample consists of."""

    @abc.abstractmethod
    def text_shapes(self) -> Tree:
        """Returns what the tokenizer makes of one phrase, as `jax.ShapeDtypeStruct` (1, …)."""

    @abc.abstractmethod
    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """Returns the tokenizer.

        Args:
          source: hub name or folder; "" for that of the pretrained text encoder or, where there
            is none, one trained on `phrases`.
          phrases: the training split's.

        Raises:
          ValueError: if it is not to be had.
        """

    @abc.abstractmethod
    def network(self, axis_name: str | None = None) -> nn.Module:
        """Returns the network without variables.

        Args:
          axis_name: mapped axis that batch statistics are synchronised over in training.
        """

    def outputs(self, variables: Variables, images: Tree, text: Tree) -> Outputs:
        """Returns what the network says of a batch, outside of training."""
        outputs: Any = self.network().apply(variables, images, text)
        return outputs

    @abc.abstractmethod
    def param_group(self, path: Path) -> Group | None:
        """Returns how the parameter at `path` is optimised; None if it is not."""

    @abc.abstractmethod
    def loss_scales(self) -> dict[str, float]:
        """Returns the factor of each term of the loss."""

    @abc.abstractmethod
    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """Returns what each term's sum is divided by, () each, from the batch alone."""

    @abc.abstractmethod
    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Returns each term summed over a device's share, () each.

        The loss is Σ scale · Σ_devices sum / Σ_devices weight, so it depends neither on the number
        of devices nor, but for `terms_across_samples`, on how the batch is cut into micro-batches.

        Args:
          outputs: of the network on `batch`.
          batch: a device's share, or a micro-batch of it.
          gather: joins arrays (b, …) of all devices to (B, …), differentiable.
        """

    def terms_across_samples(self) -> frozenset[str]:
        """Returns the terms of the loss that compare samples with each other; none by default.

        They see all devices' samples through `gather`, but only those of one micro-batch.
        """
        return frozenset()

    @abc.abstractmethod
    def table(self) -> WeightTable:
        """Returns how the published weights map onto the variables."""

    def parts(self) -> list[Part]:
        """Returns the pretrained parts that the configuration names; none by default."""
        return []

    def advice(self, state_dict: Mapping[str, np.ndarray]) -> str:
        """Returns what to do about published weights that do not fit; "" where that is not known.

        Args:
          state_dict: foreign name → array, without "module.".
        """
        del state_dict
        return ""

    def adopt(self, variables: Variables) -> tuple[dict[str, Array], dict[str, str]]:
        """Maps the variables of another run, or of an earlier stage, onto this model's.

        Args:
          variables: nested dictionaries of arrays.

        Returns:
          Our flat path ("params/backbone/…") → array; and what is left out → the reason: paths
          of theirs without a use here, and beginnings of paths of ours that these variables cannot
          fill, and that are drawn at random if no other source has them. By default everything
          keeps its path.
        """
        return flax.traverse_util.flatten_dict(variables, sep="/"), {}

    def lacking(self, paths: Collection[str]) -> str:
        """Returns what is missing for the start of a run; "" by default, where nothing can be.

        Args:
          paths: of the variables that `init_from` brings, adopted, "params/backbone/…".
        """
        del paths
        return ""

    def sample_shapes(self) -> tuple[Tree, Tree]:
        """Returns images and text of one sample as `jax.ShapeDtypeStruct` (1, …)."""
        images = {
            name: jax.ShapeDtypeStruct((1, image.size, image.size, 3), jnp.uint8)
            for name, image in self.inputs().images.items()
        }
        return images, self.text_shapes()

    def shapes(self) -> Variables:
        """Returns {"params", "batch_stats"} of `jax.ShapeDtypeStruct`; computes nothing."""
        return tracing.variable_shapes(self.network(), *self.sample_shapes())
