"""AeroReformer (Li et al., 2025): RMSIN's stages with another fusion, and another decoder."""

from typing import Any

import jax

from rrsis_jax.models.aeroreformer.fusion import VisionLanguageCrossAttention
from rrsis_jax.models.backbones.swin.stages import StagedSwin
from rrsis_jax.models.lavt.intra_scale import IntraScaleStage
from rrsis_jax.models.lavt.network import TextGuidedNetwork


class AeroReformerStage(IntraScaleStage):
    """A stage whose map meets the words by vision-language cross-attention.

    Attributes:
      fusion_heads: attention heads.
      fusion_dropout: see `VisionLanguageCrossAttention`.
      fusion_inner_dropout: see `VisionLanguageCrossAttention`.
    """

    fusion_heads: int = 1
    fusion_dropout: float = 0.0
    fusion_inner_dropout: float = 0.1

    def fuse(self, x: jax.Array, text: dict[str, jax.Array], train: bool) -> jax.Array:
        """Takes "features" (B, N, D) and "mask" (B, N) of the text."""
        return VisionLanguageCrossAttention(
            self.fusion_heads,
            self.fusion_dropout,
            self.fusion_inner_dropout,
            self.dtype,
            self.param_dtype,
            name="fusion",
        )(x, text["features"], text["mask"], train)


class AeroReformerBackbone(StagedSwin):
    """Swin transformer with vision-language cross-attention and intra-scale interaction.

    Attributes:
      fusion_heads: attention heads of each stage's fusion.
      fusion_dropout: see `VisionLanguageCrossAttention`.
      fusion_inner_dropout: see `VisionLanguageCrossAttention`.
      axis_name: mapped axis that batch statistics are synchronised over.
    """

    fusion_heads: tuple[int, ...] = (4, 4, 4, 4)
    fusion_dropout: float = 0.0
    fusion_inner_dropout: float = 0.1
    axis_name: str | None = None

    def make_stage(self, index: int, **fields: Any) -> AeroReformerStage:
        """Returns a stage; they differ in their fusion's heads."""
        return AeroReformerStage(
            fusion_heads=self.fusion_heads[index],
            fusion_dropout=self.fusion_dropout,
            fusion_inner_dropout=self.fusion_inner_dropout,
            axis_name=self.axis_name,
            **fields,
        )


class AeroReformerNetwork(TextGuidedNetwork):
    """Segments what a phrase refers to; see the module's text."""
