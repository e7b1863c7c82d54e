"""Type aliases used in signatures across the package."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

Dtype = jnp.dtype


class LayerTypes(TypedDict):
    """What a layer computes in and what its parameters are of, by Flax's names."""

    dtype: Dtype
    param_dtype: Dtype


Array = jax.Array | np.ndarray

Device: TypeAlias = jax.Device  # pyright: ignore[reportInvalidTypeForm] - jaxlib has no stubs

# One batch: `images`, name → uint8 (B, s, s, 3) or normalised float; `text`, nested dictionaries
# of int32 (B, …), what the tokenizer makes of the phrases; `target` uint8 (B, S, S) of 0/1; `index`
# int32 (B,), the sample's place in its split or PADDING_INDEX; in the training of models that ask
# for stored rows `arrays`, name → (B, …); with test-time averaging over V views `views`: `text`
# (B, V, …) and `weight` float32 (B, V). Sharded batches carry a leading device axis.
Batch = Mapping[str, Any]


class Source(Protocol):
    """Random access to the examples of a split."""

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        """Returns an example; raises IndexError beyond the last one."""
        ...


# Nested dictionaries of arrays.
Params = Mapping[str, Any]
Variables = Mapping[str, Any]
