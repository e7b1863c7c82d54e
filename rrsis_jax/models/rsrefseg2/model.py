"""RSRefSeg 2 through the contract."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from rrsis_jax.data.inputs import ImageInput, Inputs, Tokenizer
from rrsis_jax.models import contract
from rrsis_jax.models import losses as shared_losses
from rrsis_jax.models.backbones import encoders
from rrsis_jax.models.backbones.sam2 import config as sam2_config
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.backbones.siglip import config as siglip_config
from rrsis_jax.models.backbones.siglip import tokens
from rrsis_jax.models.backbones.siglip.network import Siglip
from rrsis_jax.models.contract import Group, Outputs, Part, Path, Tree
from rrsis_jax.models.layers import adapters
from rrsis_jax.models.layers.precision import DTYPES, dtype_problems, wide_type
from rrsis_jax.models.rsrefseg2 import losses, weights
from rrsis_jax.models.rsrefseg2.config import TERMS
from rrsis_jax.models.rsrefseg2.network import RsRefSeg2, has_gradient, is_trained
from rrsis_jax.models.rsrefseg2.prompter import Prompter
from rrsis_jax.types import Batch
from rrsis_jax.weights.mapping import WeightTable

FROZEN = None  # of `param_group`: not optimised


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns RSRefSeg 2 as the configuration describes it."""
    return RsRefSeg2Model(config)


class RsRefSeg2Model(contract.Model):
    """SigLIP 2 and SAM 2 with a cascaded prompter between them (Chen et al., 2025)."""

    def problems(self) -> list[str]:
        """See `contract.Model`."""
        model = self.config.model
        prompter = model.prompter
        problems = [
            *dtype_problems(model.dtype),
            *siglip_config.find_problems(model.siglip),
            *sam2_config.find_problems(model.sam2, self.config.data.image_size),
        ]
        if prompter.inner % prompter.num_heads:
            problems.append(
                f"prompter.num_heads is {prompter.num_heads}; it must divide prompter.inner "
                f"({prompter.inner})"
            )
        return problems

    def inputs(self) -> Inputs:
        """One square image; SigLIP's smaller one is made of it on the device, as published."""
        size = self.config.data.image_size
        return Inputs(images={"image": ImageInput(size)}, target_size=size)

    def text_shapes(self) -> Tree:
        """Token ids and mask of one phrase, (1, N) each."""
        ids = jax.ShapeDtypeStruct((1, self.config.model.siglip.max_tokens), jnp.int32)
        return {"input_ids": ids, "attention_mask": ids}

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """Gemma's pieces of words, loaded or trained; see `contract.Model`."""
        return tokens.tokenizer(self.config.model.siglip, "gemma", source, phrases)

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`."""
        model = self.config.model
        dtype = DTYPES[model.dtype]
        types: Any = {"dtype": dtype, "param_dtype": wide_type(dtype)}
        encoder: Any = {"remat": model.remat, "scan": model.scan, **types}
        siglip = Siglip(
            **self._siglip(), lora=adapters.from_config(model.lora, "siglip"), **encoder
        )
        sam2 = Sam2(**self._sam2(), lora=adapters.from_config(model.lora, "sam2"), **encoder)
        prompter = Prompter(
            grid=siglip.image_size // siglip.patch_size,
            prompt_dim=sam2.features,
            **{name: getattr(model.prompter, name) for name in model.prompter},
            axis_name=axis_name,
            **types,
        )
        return RsRefSeg2(siglip, sam2, prompter, model.stability, model.shared_padding)

    def _siglip(self) -> dict[str, Any]:
        return siglip_config.fields(self.config.model.siglip)

    def _sam2(self) -> dict[str, Any]:
        image_size = self.config.data.image_size
        return sam2_config.fields(self.config.model.sam2) | {"image_size": image_size}

    def param_group(self, path: Path) -> Group | None:
        """All decay alike; the encoders' own weights learn at a rate of their own, or not at all.

        What no gradient reaches is left alone, as by the published optimiser.
        """
        groups = self.config.optim.groups
        if not has_gradient(path) or path[:2] == ("sam2", "positions"):
            return FROZEN
        if is_trained(path):
            return Group()
        rate = groups.siglip if path[0] == "siglip" else groups.sam2_encoder
        return Group(rate) if rate else FROZEN

    def loss_scales(self) -> dict[str, float]:
        """The terms that have a factor."""
        scales = {name: getattr(self.config.loss, name) for name in TERMS}
        return {name: scale for name, scale in scales.items() if scale}

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """The number of pixels; the number of samples."""
        target = batch["target"]
        counts = dict.fromkeys(TERMS, len(target)) | {"cross_entropy": target.size}
        return {name: jnp.asarray(counts[name], float) for name in self.loss_scales()}

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Cross entropy over pixels; Dice, the queries' overlap and contrast over samples."""
        target, aux = batch["target"], outputs.aux
        queries = aux["text_queries1"], aux["text_queries2"]
        terms = {
            "cross_entropy": lambda: shared_losses.cross_entropy(outputs.log_odds, target),
            "dice": lambda: losses.squared_dice(outputs.log_odds, target),
            "queries": lambda: losses.query_overlap(*queries),
            "contrast": lambda: losses.contrast(
                losses.image_vector(aux["image_map"], target),
                losses.mean_vector(queries[1]),
                aux["contrast_scale"],
                aux["contrast_bias"],
                gather,
            ),
        }
        return {name: jnp.sum(terms[name]()) for name in self.loss_scales()}

    def terms_across_samples(self) -> frozenset[str]:
        """The contrastive term."""
        return frozenset({"contrast"} & self.loss_scales().keys())

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.table(self.config.model)

    def parts(self) -> list[Part]:
        """SigLIP 2 below ("siglip",), SAM 2 below ("sam2",), as they are published."""
        model = self.config.model
        named = [
            (("siglip",), model.siglip.pretrained, Siglip(**self._siglip())),
            (("sam2",), model.sam2.pretrained, Sam2(**self._sam2())),
        ]
        return [
            Part(path, source, functools.partial(encoders.load_part, network))
            for path, source, network in named
            if source
        ]
