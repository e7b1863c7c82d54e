"""AeroReformer (Li et al., 2025): RMSIN's stages with another fusion, and another decoder."""

import functools

import jax
from flax import linen as nn

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

    @nn.compact
    def __call__(
        self, x: jax.Array, text: dict[str, jax.Array], train: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Runs the stage.

        Args:
          x: trunk (B, H, W, C).
          text: "features" (B, N, D) and "mask" (B, N).
          train: whether dropout and DropPath act and batch statistics are the batch's.

        Returns:
          The fused map (B, H, W, C), and the trunk for the next stage.
        """
        x = self.run_blocks(x, train)
        attention = VisionLanguageCrossAttention(
            self.fusion_heads,
            self.fusion_dropout,
            self.fusion_inner_dropout,
            self.dtype,
            self.param_dtype,
            name="fusion",
        )
        fused = attention(x, text["features"], text["mask"], train)
        return fused, self.joined(x, fused, train)


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

    @nn.compact
    def __call__(
        self, image: jax.Array, text: dict[str, jax.Array], train: bool
    ) -> tuple[jax.Array, ...]:
        """Returns the maps of all stages, see `StagedSwin.run_stages`."""
        stage = functools.partial(
            AeroReformerStage,
            fusion_dropout=self.fusion_dropout,
            fusion_inner_dropout=self.fusion_inner_dropout,
            axis_name=self.axis_name,
        )
        stages = [functools.partial(stage, fusion_heads=heads) for heads in self.fusion_heads]
        return self.run_stages(stages, image, text, train=train)


class AeroReformerNetwork(TextGuidedNetwork):
    """Segments what a phrase refers to; see the module's text."""
