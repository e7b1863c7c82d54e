"""RMSIN through the contract: LAVT with three more interactions, and its loss."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import ml_collections
import numpy as np

from rrsis_jax.models import contract
from rrsis_jax.models.contract import Path
from rrsis_jax.models.lavt.problems import image_size_problems
from rrsis_jax.models.lavt.summed_dice import LavtWithSummedDice
from rrsis_jax.models.rmsin import weights
from rrsis_jax.models.rmsin.network import RmsinBackbone, RmsinDecoder, RmsinNetwork
from rrsis_jax.weights.mapping import WeightTable

STRIDE = 32  # pixels of an image a position of the coarsest map


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns RMSIN as the configuration describes it."""
    return Rmsin(config)


class Rmsin(LavtWithSummedDice):
    """Rotated multi-scale interaction network (Liu et al., CVPR 2024)."""

    frame = RmsinNetwork

    def problems(self) -> list[str]:
        """LAVT's, and sizes of images whose maps do not double from stage to stage."""
        return super().problems() + image_size_problems(self.config.data.image_size, STRIDE)

    def backbone(self, **shared: Any) -> nn.Module:
        """Returns the image encoder with intra-scale interaction."""
        return RmsinBackbone(**self.vision_fields(), **shared)

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns the cross-scale interaction and the rotated decoder."""
        model = self.config.model
        return RmsinDecoder(
            4 * model.vision.embed_dim,
            ordered=model.cross_scale.ordered,
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

    def advice(self, state_dict: Mapping[str, np.ndarray]) -> str:
        """Says which images the weights are for, where it is another size."""
        mixing = state_dict.get(weights.TOKEN_MIXING)
        if mixing is None:
            return ""
        theirs, ours = STRIDE * math.isqrt(len(mixing)), self.config.data.image_size
        if theirs == ours:
            return ""
        return (
            f"The token mixing of these weights is for images of {theirs}×{theirs} pixels, and "
            f"data.image_size is {ours}: set --config.data.image_size={theirs}, or take a "
            "configuration that has it, as rmsin_remotesam has 896."
        )
