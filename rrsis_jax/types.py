"""Type aliases used in signatures across the package."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Dtype = jnp.dtype

Array = jax.Array | np.ndarray

# One batch: `image` uint8 (B, H, W, 3) or normalised float, `mask` uint8 (B, H, W) of 0/1,
# `input_ids` and `attention_mask` int32 (B, N), `index` int32 (B,), the sample's place in its
# split or PADDING_INDEX. Sharded batches carry a leading device axis.
Batch = Mapping[str, Array]

# Nested dictionaries of arrays.
Params = Mapping[str, Any]
Variables = Mapping[str, Any]
