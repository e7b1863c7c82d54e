"""RS2-SAM2 through the contract: two images of one scene, a fast and a slow group, three losses."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs, Tokenizer
from rrsis_jax.models import contract, losses
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.beit3 import config as beit3_config
from rrsis_jax.models.backbones.beit3.network import Beit3
from rrsis_jax.models.backbones.sam2 import config as sam2_config
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.backbones.siglip import tokens
from rrsis_jax.models.contract import Group, Outputs, Part, Path, Tree
from rrsis_jax.models.layers.precision import DTYPES, dtype_problems, wide_type
from rrsis_jax.models.rs2sam2 import fusion, groups, network, weights
from rrsis_jax.models.rs2sam2.boundary import boundary_loss
from rrsis_jax.models.rs2sam2.config import TERMS
from rrsis_jax.models.rs2sam2.network import FusedSam2, Rs2Sam2Network
from rrsis_jax.types import Batch
from rrsis_jax.weights.mapping import WeightTable

TEXT_IMAGE = "text_image"  # the small image, which BEiT-3 reads beside the phrase
FROZEN = None  # of `param_group`: not optimised


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns RS2-SAM2 as the configuration describes it."""
    return Rs2Sam2(config)


class Rs2Sam2(contract.Model):
    """RS2-SAM2 (Rong et al., AAAI 2026)."""

    def problems(self) -> list[str]:
        """See `contract.Model`."""
        model = self.config.model
        divisors = [
            ("beit3.width", model.beit3.width, network.NUM_HEADS, "heads that follow it"),
            ("sam2.features", model.sam2.features, network.NUM_HEADS, "heads that read the words"),
            (
                "sam2.embed_dim",
                model.sam2.embed_dim,
                fusion.NARROWING * fusion.NUM_HEADS,
                f"{fusion.NUM_HEADS} heads of adapters that have a quarter of it",
            ),
        ]
        return [
            *dtype_problems(model.dtype),
            *beit3_config.find_problems(model.beit3),
            *sam2_config.find_problems(model.sam2, self.config.data.image_size),
            *(
                f"{key} is {width}; it must be a multiple of {divisor}, for the {reason}"
                for key, width, divisor, reason in divisors
                if width % divisor
            ),
        ]

    def inputs(self) -> Inputs:
        """Two squares made of the same stored pixels, each resized from them directly."""
        size = self.config.data.image_size
        images = {
            MAIN: ImageInput(size),
            TEXT_IMAGE: ImageInput(self.config.model.beit3.image_size),
        }
        return Inputs(images=images, target_size=size)

    def text_shapes(self) -> Tree:
        """Token ids and mask of one phrase, (1, N) each."""
        tokens = jax.ShapeDtypeStruct((1, self.config.model.beit3.max_tokens), jnp.int32)
        return {"input_ids": tokens, "attention_mask": tokens}

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """Pieces of words by BEiT-3's vocabulary; see `contract.Model`."""
        return tokens.tokenizer(self.config.model.beit3, "beit3", source, phrases, section="beit3")

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`; it has no batch statistics."""
        del axis_name
        dtype = DTYPES[self.config.model.dtype]
        types = {"dtype": dtype, "param_dtype": wide_type(dtype)}
        loops = {"remat": self.config.model.remat, "scan": self.config.model.scan}
        return Rs2Sam2Network(
            beit3=Beit3(**self._beit3(), **loops, **types),
            sam2=FusedSam2(**self._sam2(), **loops, **types),
        )

    def _beit3(self) -> dict[str, Any]:
        return beit3_config.fields(self.config.model.beit3)

    def _sam2(self) -> dict[str, Any]:
        image_size = self.config.data.image_size
        return sam2_config.fields(self.config.model.sam2) | {"image_size": image_size}

    def param_group(self, path: Path) -> Group | None:
        """Two rates (paper, implementation details); everything that is trained decays."""
        keys = self.config.optim.groups
        if groups.has_no_gradient(path, sum(self.config.model.sam2.depths)):
            return FROZEN
        if groups.is_encoder(path):
            return Group(rate=keys.sam2_encoder) if keys.sam2_encoder else FROZEN
        return Group(rate=keys.fast_rate if groups.is_fast(path) else 1.0)

    def loss_scales(self) -> dict[str, float]:
        """The terms that have a factor."""
        scales = {name: getattr(self.config.loss, name) for name in TERMS}
        return {name: scale for name, scale in scales.items() if scale}

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """Σ class weights of the pixels; the number of samples, twice."""
        pixels = losses.pixel_weights(batch["target"], self.config.loss.class_weights)
        samples = jnp.asarray(len(pixels), pixels.dtype)
        weights = {"cross_entropy": jnp.sum(pixels), "dice": samples, "boundary": samples}
        return {name: weights[name] for name in self.loss_scales()}

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Cross entropy over pixels, Dice of background and target and boundaries over samples."""
        del gather
        target, aux = batch["target"], outputs.aux
        entropy = losses.cross_entropy(outputs.log_odds, target)
        pixels = losses.pixel_weights(target, self.config.loss.class_weights)
        terms = {
            "cross_entropy": entropy * pixels,
            "dice": losses.two_class_dice(outputs.log_odds, target),
            "boundary": boundary_loss(aux["mask_logits"], target, aux["sentence_weight"]),
        }
        return {name: jnp.sum(terms[name]) for name in self.loss_scales()}

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.weight_table(self.config.model)

    def parts(self) -> list[Part]:
        """BEiT-3 below ("beit3",), SAM 2 below ("sam2",); adapters are in neither."""
        model = self.config.model
        encoders_of = {"beit3": Beit3(**self._beit3()), "sam2": Sam2(**self._sam2())}
        named = [
            Part((name,), model[name].pretrained, functools.partial(encoders.load_part, encoder))
            for name, encoder in encoders_of.items()
        ]
        return [part for part in named if part.source]
