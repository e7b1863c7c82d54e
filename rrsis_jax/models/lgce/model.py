"""LGCE through the contract: LAVT with its cross-scale decoder."""

from typing import Any

import flax.linen as nn
import ml_collections

from rrsis_jax.models import contract
from rrsis_jax.models.contract import Path
from rrsis_jax.models.lavt.model import Lavt
from rrsis_jax.models.lgce import weights
from rrsis_jax.models.lgce.decoder import CrossScaleBlock, LgceDecoder
from rrsis_jax.weights.mapping import WeightTable


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns LGCE as the configuration describes it."""
    return Lgce(config)


class Lgce(Lavt):
    """Language-guided cross-scale enhancement (Yuan et al., TGRS 2024)."""

    def problems(self) -> list[str]:
        """LAVT's, and widths that the cross-scale block's heads do not divide."""
        width = self.config.model.vision.embed_dim
        fine, coarse = CrossScaleBlock.num_heads
        return super().problems() + [
            f"the cross-scale block's heads at stage {stage} is {heads}; it must divide the width "
            f"{stage_width}"
            for stage, heads, stage_width in ((3, fine, 4 * width), (4, coarse, 8 * width))
            if stage_width % heads
        ]

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns LGCE's decoder."""
        guide = self.config.model.guide
        return LgceDecoder(
            4 * self.config.model.vision.embed_dim,
            guide_over_words=guide.over_words,
            live_guide=guide.live,
            **shared,
        )

    def without_gradient(self) -> tuple[Path, ...]:
        """LAVT's; and, unless it is live, the exchange of guide tokens."""
        exchange = () if self.config.model.guide.live else ("fine_to_coarse", "coarse_to_fine")
        own = tuple(("decoder", "cross_scale", name) for name in exchange)
        return (*super().without_gradient(), *own)

    def table(self) -> WeightTable:
        """LAVT's backbone, the cross-scale decoder, and the blocks that are never called."""
        return weights.table(self.config.model)
