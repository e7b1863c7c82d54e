"""LAVT's encoder: Swin stages, each followed by pixel-word fusion and a gate."""

import functools

import jax
from flax import linen as nn

from rrsis_jax.models.backbones.swin.stages import StagedSwin, SwinStage
from rrsis_jax.models.lavt.fusion import LanguageGate, PixelWordAttention
from rrsis_jax.types import LayerTypes


class LavtStage(SwinStage):
    """Swin blocks, fusion with the words, gate, and patch merging except in the last stage.

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: jax.Array, text_features: jax.Array, attention_mask: jax.Array, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the stage.

        Args:
          x: trunk (B, H, W, C).
          text_features: (B, N, D).
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout and DropPath act.

        Returns:
          The fused map (B, H, W, C), and the trunk for the next stage.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = self.run_blocks(x, train)
        attention = PixelWordAttention(
            self.fusion_heads, dropout=self.fusion_dropout, name="fusion", **types
        )
        fused = attention(x, text_features, attention_mask, train)
        gate = LanguageGate(name="gate", **types)
        return fused, self.merged(x + gate(fused) * fused)


class Backbone(StagedSwin):
    """Multi-modal Swin transformer (LAVT, section 3.1).

    Attributes:
      fusion_heads: heads of the pixel-word attention.
      fusion_dropout: dropout of the pixel-word attention.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0

    @nn.compact
    def __call__(
        self, image: jax.Array, text_features: jax.Array, attention_mask: jax.Array, train: bool
    ) -> tuple[jax.Array, ...]:
        """Returns the maps of all stages; see `StagedSwin.run_stages` and `LavtStage`."""
        stage = functools.partial(
            LavtStage, fusion_heads=self.fusion_heads, fusion_dropout=self.fusion_dropout
        )
        stages = [stage] * len(self.depths)
        return self.run_stages(stages, image, text_features, attention_mask, train=train)
