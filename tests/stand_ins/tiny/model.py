"""The stand-in through the contract."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.data.inputs import ArrayInput, ImageInput, Inputs
from rrsis_jax.models import contract, losses
from rrsis_jax.models.contract import Group, Outputs, Path, Tree
from rrsis_jax.models.layers.precision import DTYPES, dtype_problems
from rrsis_jax.types import Batch
from rrsis_jax.weights import mapping
from rrsis_jax.weights.mapping import Rule, WeightTable

from . import letters
from .network import TinyNetwork


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns the stand-in as the configuration describes it."""
    return Tiny(config)


class Tiny(contract.Model):
    """Two images, letters, stored rows, two terms of the loss, a frozen parameter."""

    def problems(self) -> list[str]:
        size = self.config.data.image_size
        odd = [f"data.image_size is {size}; it must be even"] if size % 2 else []
        return odd + dtype_problems(self.config.model.dtype)

    def inputs(self) -> Inputs:
        size = self.config.data.image_size
        images = {"image": ImageInput(size), "context": ImageInput(size // 2)}
        if not self.config.data.arrays.context:
            return Inputs(images=images, target_size=size)
        rows = {"context": ArrayInput((size // 2, size // 2), "uint8")}
        return Inputs(images=images, target_size=size, arrays=rows, usable=_not_empty)

    def text_shapes(self) -> Tree:
        tokens = jax.ShapeDtypeStruct((1, self.config.model.max_tokens), jnp.int32)
        return {"input_ids": tokens, "attention_mask": tokens}

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> letters.Letters:
        del phrases
        length = self.config.model.max_tokens
        return letters.load(source, length) if source else letters.Letters(length)

    def network(self, axis_name: str | None = None) -> nn.Module:
        model = self.config.model
        vocab_size = letters.Letters(model.max_tokens).vocab_size
        return TinyNetwork(model.width, vocab_size, DTYPES[model.dtype], axis_name)

    def param_group(self, path: Path) -> Group | None:
        if path == ("scale",):
            return None
        rate = self.config.optim.groups.letters_rate if path[0] == "text_encoder" else 1.0
        return Group(rate, decay=float(path[-1] in ("kernel", "embedding")))

    def loss_scales(self) -> dict[str, float]:
        return {"cross_entropy": 1.0, "context": self.config.loss.context_weight}

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        target = batch["target"]
        return {
            "cross_entropy": jnp.asarray(target.size, float),
            "context": jnp.asarray(_halved(target).size, float),
        }

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        del gather
        target, context = batch["target"], outputs.aux["context"]
        return {
            "cross_entropy": jnp.sum(losses.cross_entropy(outputs.log_odds, target)),
            "context": jnp.sum(losses.cross_entropy(context, _halved(target))),
        }

    def table(self) -> WeightTable:
        rules = [Rule("stand_in.scale", "params/scale")]
        for name in ("conv", "context_conv"):
            rules += mapping.linear(f"stand_in.{name}", f"params/{name}", transform=mapping.CONV)
        for name in ("context_head", "decoder"):
            rules += mapping.linear(f"stand_in.{name}", f"params/{name}")
        rules += mapping.norm("stand_in.norm", "params/norm")
        rules += [
            Rule("stand_in.norm.running_mean", "batch_stats/norm/mean"),
            Rule("stand_in.norm.running_var", "batch_stats/norm/var"),
            Rule("text_encoder.weight", "params/text_encoder/embedding"),
        ]
        return WeightTable(rules, optional={"text_encoder.": "params/text_encoder/"})


def _not_empty(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    return rows["context"].any(axis=(1, 2))


def _halved(target: jax.Array) -> jax.Array:
    return target[:, ::2, ::2]
