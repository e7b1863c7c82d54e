"""Stages that look at their own map twice: with the words, and for where it is strong.

Source: RMSIN (Liu et al., CVPR 2024), intra-scale interaction; AeroReformer keeps it.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.swin.stages import SwinStage
from rrsis_jax.models.lavt.fusion import LanguageGate
from rrsis_jax.models.layers.grouped_convolution import GroupedConv
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.types import Dtype, LayerTypes


class SpatialWeights(nn.Module):
    """One weight for each position, from the mean over channels and its surroundings.

    The published code takes the root of the number of positions as both sides, so it knows square
    maps only; here the map keeps its sides.

    Attributes:
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to weights (B, H, W, 1) in (0, 1)."""
        fields = (self.axis_name, self.dtype, self.param_dtype)
        x = jnp.mean(x, axis=-1, keepdims=True)
        x = nn.relu(_Branches(*fields, name="first")(x, train))
        return nn.sigmoid(_Branches(*fields, name="second")(x, train))


class _Branches(nn.Module):
    """A 1×1 and a 3×3 convolution, a 1×1 convolution, and nothing, each normalised, summed."""

    axis_name: str | None
    dtype: Dtype
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def convolved(name: str, size: int, x: jax.Array) -> jax.Array:
            conv = GroupedConv(1, 1, size, use_bias=False, name=f"{name}_conv", **types)
            return normed(name, conv(x))

        def normed(name: str, x: jax.Array) -> jax.Array:
            return BatchNorm(axis_name=self.axis_name, name=f"{name}_bn", **types)(x, train)

        wide = convolved("wide", 3, convolved("narrow", 1, x))
        return wide + convolved("point", 1, x) + normed("identity", x)


class IntraScaleStage(SwinStage):
    """Swin blocks; what the words say and what is strong return to the trunk, each by a gate.

    A subclass says in `__call__` how the words meet the map.

    Attributes:
      axis_name: mapped axis that batch statistics are synchronised over.
    """

    axis_name: str | None = None

    def joined(self, x: jax.Array, fused: jax.Array, train: bool) -> jax.Array:
        """Joins three maps to the trunk of the next stage.

        Args:
          x: of the blocks, (B, H, W, C), which also says where it is strong.
          fused: of the words, (B, H, W, C).
          train: whether batch statistics are the batch's.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        visual = x * SpatialWeights(self.axis_name, name="spatial_weights", **types)(x, train)
        trunk = x + LanguageGate(name="gate", **types)(fused) * fused
        trunk += LanguageGate(name="visual_gate", **types)(visual) * visual
        self.sow("intermediates", "trunk", trunk)
        return self.merged(trunk)
