"""AeroReformer through the contract: RMSIN's stages with another fusion, and another decoder."""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import ml_collections

from rrsis_jax.data.inputs import Tokenizer
from rrsis_jax.models import contract
from rrsis_jax.models.aeroreformer import weights
from rrsis_jax.models.aeroreformer.decoder import AeroReformerDecoder
from rrsis_jax.models.aeroreformer.network import AeroReformerBackbone, AeroReformerNetwork
from rrsis_jax.models.contract import Path
from rrsis_jax.models.lavt.problems import NUM_STAGES, image_size_problems
from rrsis_jax.models.lavt.summed_dice import LavtWithSummedDice
from rrsis_jax.weights.mapping import WeightTable

STRIDE = 32  # pixels of an image a position of the coarsest map


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns AeroReformer as the configuration describes it."""
    return AeroReformer(config)


class AeroReformer(LavtWithSummedDice):
    """Vision-language cross-attention and rotated fusion of scales (Li et al., 2025)."""

    frame = AeroReformerNetwork

    def problems(self) -> list[str]:
        """LAVT's, and sizes of images whose maps do not double from stage to stage."""
        return super().problems() + image_size_problems(self.config.data.image_size, STRIDE)

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """WordPiece; a phrase that is cut keeps its [SEP], as the authors' tokenizer does."""
        words = self.words(source, phrases)
        return words.keeping_end() if self.config.model.text.keep_end else words

    def backbone(self, **shared: Any) -> nn.Module:
        """Returns the image encoder with cross-attention to the words."""
        fusion = self.config.model.fusion
        fields = self.vision_fields() | {"fusion_heads": (fusion.num_heads,) * NUM_STAGES}
        return AeroReformerBackbone(**fields, fusion_inner_dropout=fusion.inner_dropout, **shared)

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns the decoder with linear attention and rotated convolutions."""
        model = self.config.model
        return AeroReformerDecoder(
            plain_channels=model.attention.plain_channels,
            routing_dropout=model.rotation.dropout,
            **shared,
        )

    def without_gradient(self) -> tuple[Path, ...]:
        """LAVT's; and, for the same reason, the last stage's spatial weights and their gate."""
        own = tuple(("backbone", "layers_3", name) for name in ("spatial_weights", "visual_gate"))
        return (*super().without_gradient(), *own)

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.table(self.config.model)
