"""RSRefSeg through the contract: frozen encoders with adapters, a prompter, SAM's decoder."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from rrsis_jax.data.inputs import ImageInput, Inputs, Tokenizer
from rrsis_jax.models import contract, losses
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.sam import config as sam_config
from rrsis_jax.models.backbones.sam.network import Sam
from rrsis_jax.models.backbones.siglip import config as siglip_config
from rrsis_jax.models.backbones.siglip import tokens
from rrsis_jax.models.backbones.siglip.network import Siglip
from rrsis_jax.models.contract import Group, Outputs, Part, Path, Tree
from rrsis_jax.models.layers import adapters
from rrsis_jax.models.layers.precision import DTYPES, dtype_problems, wide_type
from rrsis_jax.models.rsrefseg import weights
from rrsis_jax.models.rsrefseg.network import Prompter, RsRefSeg, is_trained
from rrsis_jax.types import Batch
from rrsis_jax.weights.mapping import WeightTable

FROZEN = None  # of `param_group`: not optimised


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns RSRefSeg as the configuration describes it."""
    return RsRefSegModel(config)


class RsRefSegModel(contract.Model):
    """RSRefSeg (Chen et al., IGARSS 2025)."""

    def problems(self) -> list[str]:
        """See `contract.Model`."""
        model = self.config.model
        return [
            *dtype_problems(model.dtype),
            *siglip_config.find_problems(model.siglip),
            *sam_config.find_problems(model.sam, self.config.data.image_size),
        ]

    def inputs(self) -> Inputs:
        """One square image, SAM's; SigLIP's is made of it on the device."""
        size = self.config.data.image_size
        return Inputs(images={"image": ImageInput(size)}, target_size=size)

    def text_shapes(self) -> Tree:
        """Token ids and mask of one phrase, (1, N) each."""
        word = jax.ShapeDtypeStruct((1, self.config.model.siglip.max_tokens), jnp.int32)
        return {"input_ids": word, "attention_mask": word}

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """SigLIP's pieces of words; see `contract.Model`."""
        return tokens.tokenizer(self.config.model.siglip, "siglip", source, phrases)

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`."""
        model = self.config.model
        dtype = DTYPES[model.dtype]
        types = {"dtype": dtype, "param_dtype": wide_type(dtype)}
        encoder = {"remat": model.remat, "scan": model.scan, **types}

        def lora(part: str) -> adapters.Lora | None:
            return adapters.from_config(model.lora, part)

        return RsRefSeg(
            siglip=Siglip(**siglip_config.fields(model.siglip), lora=lora("siglip"), **encoder),
            sam=Sam(
                **sam_config.fields(model.sam),
                image_size=self.config.data.image_size,
                decoder_epsilon=1e-6,  # Hugging Face's implementation, on which the paper stands
                lora=lora("sam"),
                **encoder,
            ),
            prompter=Prompter(
                model.sam.features, model.prompter.halvings, axis_name=axis_name, **types
            ),
            dense=model.prompter.dense,
        )

    def param_group(self, path: Path) -> Group | None:
        """All that is trained at one rate and decayed; encoders by their factors, if at all."""
        groups = self.config.optim.groups
        if self._reaches_no_logit(path) or path[:2] == ("sam", "positions"):
            return FROZEN
        if is_trained(path):
            return Group()
        rate = groups.siglip if path[0] == "siglip" else groups.sam_encoder
        return Group(rate) if rate else FROZEN

    def _reaches_no_logit(self, path: Path) -> bool:
        """The published optimiser skips what has no gradient, decay included."""
        unused = [
            "label_",
            "not_a_point",
            "no_mask" if self.config.model.prompter.dense else "mask_",
        ]
        if path[:2] == ("sam", "prompt_encoder"):
            return path[2].startswith(tuple(unused))
        return path[:3] in {("siglip", "vision", "head"), ("sam", "mask_decoder", "iou_head")}

    def loss_scales(self) -> dict[str, float]:
        """Cross entropy and, where it has a factor, soft Dice."""
        loss = self.config.loss
        return {"cross_entropy": loss.cross_entropy, **({"dice": loss.dice} if loss.dice else {})}

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """The number of pixels, and of samples."""
        target = batch["target"]
        counts = {"cross_entropy": target.size, "dice": len(target)}
        return {name: jnp.asarray(counts[name], float) for name in self.loss_scales()}

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Cross entropy over pixels and soft Dice over samples."""
        del gather
        terms = {"cross_entropy": losses.cross_entropy, "dice": losses.soft_dice}
        return {
            name: jnp.sum(terms[name](outputs.log_odds, batch["target"]))
            for name in self.loss_scales()
        }

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.weight_table(self.config.model)

    def parts(self) -> list[Part]:
        """SigLIP and SAM as they are published, below their names."""
        model = self.config.model
        plain = {
            "siglip": Siglip(**siglip_config.fields(model.siglip)),
            "sam": Sam(**sam_config.fields(model.sam), image_size=self.config.data.image_size),
        }
        return [
            Part((name,), source, functools.partial(encoders.load_part, network))
            for name, network in plain.items()
            if (source := model[name].pretrained)
        ]
