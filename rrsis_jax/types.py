"""Type aliases used in signatures across the package."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Dtype = jnp.dtype

Array = jax.Array | np.ndarray

# One batch: `images`, name → uint8 (B, s, s, 3) or normalised float; `text`, nested dictionaries
# of int32 (B, …), what the tokenizer makes of the phrases; `target` uint8 (B, S, S) of 0/1; `index`
# int32 (B,), the sample's place in its split or PADDING_INDEX; in the training of models that ask
# for stored rows `arrays`, name → (B, …); with test-time averaging over V views `views`: `text`
# (B, V, …) and `weight` float32 (B, V). Sharded batches carry a leading device axis.
Batch = Mapping[str, Any]

# Nested dictionaries of arrays.
Params = Mapping[str, Any]
Variables = Mapping[str, Any]
