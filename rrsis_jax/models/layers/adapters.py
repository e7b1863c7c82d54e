"""Linear layers and convolutions that low-rank adapters may be added to (LoRA, Hu et al., 2022).

An adapter is two small kernels beside a layer's own: y = W x + b + (alpha / rank) · B A dropout(x).
`Lora` says of which rank and in which layers; a layer that it does not name is a plain one.

    lora = Lora(rank=16, alpha=16, layers="attn/(qkv|proj)")
    merged = merge(params, lora)  # plain kernels: W + (alpha / rank) · B A
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import ml_collections
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from rrsis_jax.models.layers.initializers import uniform_init

Params = Mapping[str, Any]

ADAPTER = ("lora_a", "lora_b")  # the names of its kernels, the last of their paths


@dataclasses.dataclass(frozen=True)
class Lora:
    """Which layers have a low-rank adapter, and of what kind.

    Attributes:
      rank: width that an adapter goes through.
      alpha: the adapter's output is multiplied by alpha / rank.
      dropout: rate on what enters an adapter in training.
      layers: regular expression of the last names of a layer's path, as "attn/(qkv|proj)".
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    layers: str = ".*"

    @property
    def scale(self) -> float:
        """Factor of what an adapter adds."""
        return self.alpha / self.rank

    def covers(self, path: Sequence[str]) -> bool:
        """Returns whether the layer at `path` has an adapter."""
        return re.fullmatch(f"(?:.*/)?(?:{self.layers})", "/".join(path)) is not None


def from_config(config: ml_collections.ConfigDict, part: str) -> Lora | None:
    """Returns the adapters of a part of a network; None for none.

    Args:
      config: the section `model.lora`, see `adapter_config`.
      part: a key of its `layers`.
    """
    if not config.rank:
        return None
    return Lora(config.rank, config.alpha, config.dropout, getattr(config.layers, part))


def _adapter(lora: Lora | None, path: Sequence[str]) -> Lora | None:
    """Returns the adapter of the layer at `path`; None where it has none."""
    return lora if lora is not None and lora.covers(path) else None


class Dense(nn.Dense):
    """`nn.Dense`, with a low-rank adapter where `lora` names it.

    The adapter's kernels are the parameters "lora_a" (in, rank) and "lora_b" (rank, features).

    Attributes:
      lora: see `Lora`; None for a plain layer.
    """

    lora: Lora | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Maps (..., C) to (..., features); dropout of the adapter acts when `train`."""
        outputs = super().__call__(inputs)
        lora = _adapter(self.lora, self.path)
        if lora is None:
            return outputs
        rank, width = lora.rank, inputs.shape[-1]
        a = self.param("lora_a", uniform_init, (width, rank), self.param_dtype)
        b = self.param("lora_b", nn.initializers.zeros, (rank, self.features), self.param_dtype)
        inputs = nn.Dropout(lora.dropout)(inputs, deterministic=not train)
        inputs, a, b = promote_dtype(inputs, a, b, dtype=self.dtype)
        return outputs + (inputs @ a) @ b * lora.scale


class Conv(nn.Conv):
    """`nn.Conv` of two dimensions, with a low-rank adapter where `lora` names it.

    The adapter is a convolution of the layer's own kernel size, stride and padding to `rank`
    channels and one of 1×1: "lora_a" (k, k, in, rank) and "lora_b" (1, 1, rank, features).

    Attributes:
      lora: see `Lora`; None for a plain layer.
    """

    lora: Lora | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool = False) -> jax.Array:
        """Maps (B, H, W, C) to (B, H', W', features); see `Dense` for `train`."""
        outputs = super().__call__(inputs)
        lora = _adapter(self.lora, self.path)
        if lora is None:
            return outputs
        rank = lora.rank
        shape = (*_pair(self.kernel_size), inputs.shape[-1], rank)
        a = self.param("lora_a", uniform_init, shape, self.param_dtype)
        shape = (1, 1, rank, self.features)
        b = self.param("lora_b", nn.initializers.zeros, shape, self.param_dtype)
        inputs = nn.Dropout(lora.dropout)(inputs, deterministic=not train)
        inputs, a, b = promote_dtype(inputs, a, b, dtype=self.dtype)
        convolve = functools.partial(
            jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        padding = self.padding
        if not isinstance(padding, str):
            padding = nn.linear.canonicalize_padding(padding, 2)
        low = convolve(inputs, a, _pair(self.strides), padding)
        return outputs + convolve(low, b, (1, 1), "VALID") * lora.scale


def _pair(sides: int | Sequence[int] | None) -> tuple[int, int]:
    if sides is None or isinstance(sides, int):
        return sides or 1, sides or 1
    rows, columns = sides
    return rows, columns


def merge(params: Params, lora: Lora) -> dict[str, Any]:
    """Adds every adapter to the kernel beside it.

    Args:
      params: nested dictionaries of arrays; adapters are leaves "lora_a" and "lora_b".
      lora: what they were trained with; only its scale counts.

    Returns:
      The parameters of the plain network, as NumPy arrays. Sums are taken in float64 and rounded
      once to the kernel's type.
    """
    flat = _flat(params)
    merged = {path: value for path, value in flat.items() if path[-1] not in ADAPTER}
    for path, change in _changes(flat, lora).items():
        merged[path] = (merged[path] + change).astype(merged[path].dtype)
    return flax.traverse_util.unflatten_dict(merged)


def unmerge(merged: Params, adapters: Params, lora: Lora) -> dict[str, Any]:
    """Takes adapters out of kernels again and puts them beside.

    Args:
      merged: what `merge` returned.
      adapters: parameters that hold the adapters' leaves; others are not looked at.
      lora: what they were trained with; only its scale counts.

    Returns:
      The parameters before `merge`. A kernel comes back to within one rounding of its type,
      which is what merging lost.

    Raises:
      ValueError: if `merged` has no kernel where an adapter belongs.
    """
    flat = _flat(merged)
    pairs = {path: x for path, x in _flat(adapters).items() if path[-1] in ADAPTER}
    for path, change in _changes(pairs, lora).items():
        if path not in flat:
            raise ValueError(
                f"an adapter belongs to {'/'.join(path)}, which the merged parameters lack; "
                "expected the parameters of the same network."
            )
        flat[path] = (flat[path] - change).astype(flat[path].dtype)
    return flax.traverse_util.unflatten_dict(flat | pairs)


def _flat(params: Params) -> dict[tuple[str, ...], np.ndarray]:
    flat = flax.traverse_util.flatten_dict(params)
    return {path: np.asarray(value) for path, value in flat.items()}


def _changes(
    flat: Mapping[tuple[str, ...], np.ndarray], lora: Lora
) -> dict[tuple[str, ...], np.ndarray]:
    """Returns what each adapter adds to its kernel, float64, by the kernel's path."""
    changes = {}
    for path, a in flat.items():
        if path[-1] != "lora_a":
            continue
        b = flat[(*path[:-1], "lora_b")]
        product = a.astype(np.float64).reshape(-1, a.shape[-1]) @ b.astype(np.float64).reshape(
            a.shape[-1], -1
        )
        shape = (*a.shape[:-1], b.shape[-1])
        changes[(*path[:-1], "kernel")] = lora.scale * product.reshape(shape)
    return changes
