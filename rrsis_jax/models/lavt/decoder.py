"""From four fused maps to coarse logits, after LAVT.

Source: LAVT (Yang et al., CVPR 2022), section 3.4.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers.convolution import ConvBnRelu
from rrsis_jax.models.layers.initializers import uniform_inits
from rrsis_jax.models.layers.precision import wide_type
from rrsis_jax.models.layers.resize import resize_aligned
from rrsis_jax.types import Dtype

NUM_CLASSES = 2  # background and target


class JoinFiner(nn.Module):
    """Brings a coarse map to the next finer size and joins the two.

    Attributes:
      features: output channels.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, coarse: jax.Array, finer: jax.Array, train: bool) -> jax.Array:
        """Maps (B, h, w, C) and (B, H, W, F) to (B, H, W, features)."""
        block = functools.partial(
            ConvBnRelu, self.features, self.axis_name, self.dtype, self.param_dtype
        )
        x = resize_aligned(coarse, *finer.shape[1:3])
        x = jnp.concatenate([x, finer], axis=-1)
        return block(name="block2")(block(name="block1")(x, train), train)


class LavtDecoder(nn.Module):
    """Joins the maps from coarse to fine and classifies every stride-4 position.

    Attributes:
      hidden: channels between the joins.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the classifier computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    hidden: int
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: tuple[jax.Array, ...],
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool,
    ) -> jax.Array:
        """Decodes maps to coarse logits.

        Args:
          features: four maps (B, h, w, C), fine to coarse.
          text_features: (B, N, D); LAVT's decoder looks neither at it nor at its mask.
          attention_mask: (B, N).
          train: whether batch statistics are taken from the batch.

        Returns:
          Logits (B, h, w, 2), float32 or wider, at the size of the finest map.
        """
        *finer, x = features
        for level, finer_map in reversed(list(enumerate(finer, start=1))):
            x = JoinFiner(
                self.hidden, self.axis_name, self.dtype, self.param_dtype, name=f"join_c{level}"
            )(x, finer_map, train)
        return nn.Conv(
            NUM_CLASSES,
            (1, 1),
            dtype=wide_type(self.dtype),
            param_dtype=self.param_dtype,
            name="classifier",
            **uniform_inits(x.shape[-1]),
        )(x)
