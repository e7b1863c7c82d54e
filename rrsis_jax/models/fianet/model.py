"""FIANet through the contract: LAVT that reads a phrase three times, with masks of its words."""

from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import ml_collections

from rrsis_jax.data import word_masks
from rrsis_jax.data.inputs import Tokenizer
from rrsis_jax.data.tokenizers import word_masked
from rrsis_jax.models import contract
from rrsis_jax.models.contract import Path, Tree
from rrsis_jax.models.fianet import weights
from rrsis_jax.models.fianet.network import (
    CHANNEL_SQUEEZE,
    FianetBackbone,
    FianetDecoder,
    FianetNetwork,
)
from rrsis_jax.models.lavt.summed_dice import LavtWithSummedDice
from rrsis_jax.weights.mapping import WeightTable


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns FIANet as the configuration describes it."""
    return Fianet(config)


class Fianet(LavtWithSummedDice):
    """Fine-grained image-text alignment network (Lei et al., TGRS 2025)."""

    frame = FianetNetwork

    def problems(self) -> list[str]:
        """LAVT's, and a first stage too narrow to be squeezed for its channel weights."""
        width = self.config.model.vision.embed_dim
        narrow = f"vision.embed_dim is {width}; it must be at least {CHANNEL_SQUEEZE}"
        return super().problems() + ([narrow] if width < CHANNEL_SQUEEZE else [])

    def text_shapes(self) -> Tree:
        """Token ids and three masks of one phrase, (1, N) each."""
        shapes = super().text_shapes()
        return shapes | dict.fromkeys(word_masks.NAMES, shapes["attention_mask"])

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """WordPiece with masks by rule, or the ready ones that lie beside the vocabulary."""
        keys = self.config.model.word_masks
        rules = word_masks.MaskRules(
            classes=keys.classes,
            tagger=keys.tagger,
            whole_words=keys.whole_words,
            all_pieces=keys.all_pieces,
            object_with_ends=keys.object_with_ends,
        )
        ready = word_masked.ready_in(source)
        return word_masked.WordMaskTokenizer(self.words(source, phrases), rules, ready)

    def backbone(self, axis_name: str | None = None, **types: Any) -> nn.Module:
        """Returns the image encoder, which aligns its maps with three kinds of words."""
        del axis_name  # it has no batch statistics
        return FianetBackbone(**self.vision_fields(), **types)

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns the text-aware mixing of all scales and LAVT's decoder."""
        model = self.config.model
        return FianetDecoder(4 * model.vision.embed_dim, model.mixer.depth, **shared)

    def without_gradient(self) -> tuple[Path, ...]:
        """LAVT's; and, for the same reason, what the last stage adds to its trunk."""
        own = tuple(("backbone", "layers_3", name) for name in ("channels", "alignment"))
        return (*super().without_gradient(), *own)

    def _in_backbone(self, path: Path) -> bool:
        """The published code counts the mixing of all scales among its backbone."""
        return super()._in_backbone(path) or path[:2] in (
            ("decoder", "mixer"),
            ("decoder", "scales"),
        )

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.table(self.config.model)
