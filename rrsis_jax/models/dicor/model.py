"""DiCoR through the contract: one family, whose stage says what is built and what is trained."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rrsis_jax.data.inputs import ArrayInput, Inputs
from rrsis_jax.models import contract, losses
from rrsis_jax.models.contract import Group, Outputs, Path
from rrsis_jax.models.dicor import candidates, guide_loss, refiner_loss, starts, weights
from rrsis_jax.models.dicor.guide import Guide
from rrsis_jax.models.dicor.mixers import NUM_HEADS
from rrsis_jax.models.dicor.network import (
    GUIDED,
    DicorDecoder,
    DicorNetwork,
    resized,
    stored_probabilities,
)
from rrsis_jax.models.dicor.refiner import Refiner
from rrsis_jax.models.dicor.stages import COARSE, GUIDE, JOINT, REFINER
from rrsis_jax.models.lavt.model import FROZEN, Lavt
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.models.layers.precision import DTYPES, wide_type
from rrsis_jax.types import Array, Batch, Variables
from rrsis_jax.weights.mapping import WeightTable

PATCH = 4  # pixels of an image a position of the finest map, and of a stored row


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns DiCoR as the configuration describes it."""
    return Dicor(config)


class Dicor(Lavt):
    """Coarse network, guide and refiner, trained one after the other; see `dicor.network`."""

    frame = DicorNetwork

    @property
    def stage(self) -> str:
        """The stage that is built and trained."""
        return self.config.model.stage

    def problems(self) -> list[str]:
        """LAVT's; heads that do not divide the joint map; parts and rows of other stages."""
        model, arrays = self.config.model, self.config.data.arrays
        problems = super().problems()
        joint = 15 * model.vision.embed_dim // 4
        if joint % NUM_HEADS:
            problems.append(
                f"vision.embed_dim is {model.vision.embed_dim}, so the joint map of all scales has "
                f"{joint} channels; they must be a multiple of {NUM_HEADS}: take a multiple of 32"
            )
        if self.stage == REFINER and not model.refiner.width:
            problems.append("refiner.width is 0, and the stage trains it; give it channels")
        problems += [
            f"data.arrays.{name} is given, and the stage {self.stage!r} reads none; leave it out"
            for name, files, stages in (
                ("prompt", arrays.prompt, (REFINER, GUIDE)),
                ("distractors", arrays.distractors, (GUIDE,)),
            )
            if files and self.stage not in stages
        ]
        return problems

    def inputs(self) -> Inputs:
        """One square image; of the refiner's and the guide's training stored rows, too."""
        inputs = super().inputs()
        if self.stage not in (REFINER, GUIDE):
            return inputs
        side = -(-self.config.data.image_size // PATCH)
        rows = {"prompt": ArrayInput((side, side), "uint8")}
        if self.config.data.arrays.distractors:
            rows["distractors"] = ArrayInput((side, side), "uint8")
        return Inputs(inputs.images, inputs.target_size, arrays=rows, usable=_usable)

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`."""
        model = self.config.model
        dtype = DTYPES[model.dtype]
        types = {"dtype": dtype, "param_dtype": wide_type(dtype)}
        parts = {}
        if self.stage in (GUIDE, JOINT):
            parts["guide"] = Guide(**types)
        if self.stage == JOINT:
            parts["text_norm"] = LayerNorm(**types)
        if self.stage in (REFINER, JOINT) and model.refiner.width:
            parts["refiner"] = Refiner(model.refiner.width, axis_name, **types)
        return (
            super()
            .network(axis_name)
            .clone(stage=self.stage, end_ids=tuple(model.guide.end_ids), **parts)
        )

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns the mixing of all scales and LAVT's decoder."""
        model = self.config.model
        words = self.stage == JOINT
        return DicorDecoder(4 * model.vision.embed_dim, model.mixer.depth, words, **shared)

    def param_group(self, path: Path) -> Group | None:
        """What the stage trains; in the coarse stage LAVT's groups."""
        groups = self.config.optim.groups
        norm = Group(groups.text_norm_rate, groups.text_norm_decay)
        ranker = Group(groups.ranker_rate)
        common = super().param_group(path)
        trained = {
            COARSE: {path[0]: common},
            REFINER: {"refiner": Group()},
            GUIDE: {"guide": ranker if path[1:2] == ("ranker",) else Group()},
            JOINT: {"text_norm": norm, "decoder": common},
        }[self.stage]
        return trained.get(path[0], FROZEN)

    def _in_backbone(self, path: Path) -> bool:
        """The published code counts the mixing of all scales among its backbone."""
        return super()._in_backbone(path) or path[:2] in (
            ("decoder", "mixer"),
            ("decoder", "scales"),
        )

    def loss_scales(self) -> dict[str, float]:
        """By stage."""
        if self.stage == REFINER:
            return refiner_loss.scales()
        if self.stage == GUIDE:
            return guide_loss.scales(bool(self.config.data.arrays.distractors))
        return super().loss_scales()

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """By stage; of the guide's, samples that have a share in a term."""
        target = batch["target"]
        if self.stage == REFINER:
            return dict.fromkeys(self.loss_scales(), jnp.asarray(len(target), float))
        if self.stage == GUIDE:
            regions = self._regions(batch, float)
            counted = guide_loss.weights(candidates.find(self._prior(batch)), regions)
            return {name: counted[name] for name in self.loss_scales()}
        return super().loss_weights(batch)

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """By stage; cross entropy over pixels and Dice of both classes over samples at first."""
        target = batch["target"]
        if self.stage == REFINER:
            terms = refiner_loss.terms(
                outputs.log_odds,
                outputs.aux["delta_logits"],
                outputs.aux["prompt"],
                target,
                self.config.loss.class_weights,
            )
            return {name: jnp.sum(values) for name, values in terms.items()}
        if self.stage == GUIDE:
            guidance = outputs.aux["guidance"]
            summed = guide_loss.sums(
                guidance.evidence,
                guidance.scores,
                guidance.candidates,
                self._regions(batch, guidance.evidence.dtype),
            )
            return {name: summed[name] for name in self.loss_scales()}
        sums = super().loss_sums(outputs, batch, gather)
        if "dice" in sums:
            sums["dice"] = jnp.sum(losses.two_class_dice(outputs.log_odds, target)) / 2
        return sums

    def _prior(self, batch: Batch) -> jax.Array:
        """Returns the stored probabilities (B, h, w) at the size of the guided map."""
        return resized(stored_probabilities(batch["arrays"]["prompt"]), *self._guided_size())

    def _regions(self, batch: Batch, dtype: Any) -> guide_loss.Regions:
        distractors = batch["arrays"].get("distractors")
        return guide_loss.find_regions(batch["target"], self._guided_size(), distractors, dtype)

    def _guided_size(self) -> tuple[int, int]:
        side = -(-self.config.data.image_size // PATCH)
        for _ in range(GUIDED):
            side = -(-side // 2)
        return side, side

    def adopt(self, variables: Variables) -> tuple[dict[str, Array], dict[str, str]]:
        """Takes over what earlier stages have trained, see `dicor.starts`."""
        flat = flax.traverse_util.flatten_dict(variables, sep="/")
        return starts.adopt(flat, self.stage, self.config.model.mixer.carried)

    def lacking(self, paths: Collection[str]) -> str:
        """Says which runs a stage starts from, where it has not been started from these."""
        return starts.lacking(paths, self.stage, self.config.model.refiner.width > 0)

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.table(self.config.model)


def _usable(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns bool (n,): a map of zeros stands for none."""
    return np.any(rows["prompt"], axis=(1, 2))
