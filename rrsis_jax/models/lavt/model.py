"""LAVT through the contract; the base of the models of its family."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from rrsis_jax.data.inputs import ImageInput, Inputs, Tokenizer
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.models import contract, losses
from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.bert.network import TextEncoder
from rrsis_jax.models.backbones.swin import weights as swin_weights
from rrsis_jax.models.contract import Group, Outputs, Part, Path, Tree
from rrsis_jax.models.lavt import weights
from rrsis_jax.models.lavt.backbone import Backbone
from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.lavt.network import LavtNetwork
from rrsis_jax.models.lavt.problems import NUM_STAGES, find_problems
from rrsis_jax.models.layers.precision import DTYPES, wide_type
from rrsis_jax.types import Batch
from rrsis_jax.weights.mapping import WeightTable

FROZEN = None  # of `param_group`: not optimised
_NO_DECAY_IN_BACKBONE = ("norm", "absolute_pos_embed", "relative_position_bias_table")


def build(config: ml_collections.ConfigDict) -> contract.Model:
    """Returns LAVT as the configuration describes it."""
    return Lavt(config)


class Lavt(contract.Model):
    """Language-aware vision transformer (Yang et al., CVPR 2022).

    A subclass brings its `frame`, `backbone` and `decoder`.
    """

    frame = LavtNetwork  # (backbone, decoder, text_encoder) → the network

    def problems(self) -> list[str]:
        """See `contract.Model`."""
        return find_problems(self.config.model)

    def inputs(self) -> Inputs:
        """One square image of any size."""
        size = self.config.data.image_size
        return Inputs(images={"image": ImageInput(size)}, target_size=size)

    def text_shapes(self) -> Tree:
        """Token ids and mask of one phrase, (1, N) each."""
        tokens = jax.ShapeDtypeStruct((1, self.config.model.text.max_tokens), jnp.int32)
        return {"input_ids": tokens, "attention_mask": tokens}

    def tokenizer(self, source: str, phrases: Iterable[str] = ()) -> Tokenizer:
        """WordPiece, loaded or trained; see `contract.Model`."""
        return self.words(source, phrases)

    def words(self, source: str, phrases: Iterable[str]) -> wordpiece.PhraseTokenizer:
        """Returns the tokenizer of words, on which a subclass's may build; see `tokenizer`."""
        text = self.config.model.text
        name = source or text.pretrained
        tokenizer = (
            wordpiece.load(name, text.max_tokens)
            if name
            else wordpiece.train(phrases, text.vocab_size, text.max_tokens)
        )
        if tokenizer.vocab_size > text.vocab_size:
            raise ValueError(
                f"The tokenizer has {tokenizer.vocab_size} ids, model.text.vocab_size is "
                f"{text.vocab_size}. Set it to at least {tokenizer.vocab_size}."
            )
        return tokenizer

    def network(self, axis_name: str | None = None) -> nn.Module:
        """See `contract.Model`."""
        model = self.config.model
        text = model.text
        dtype = DTYPES[model.dtype]
        shared = {"axis_name": axis_name, "dtype": dtype, "param_dtype": wide_type(dtype)}
        return self.frame(
            backbone=self.backbone(**shared),
            decoder=self.decoder(**shared),
            text_encoder=TextEncoder(
                hidden_size=text.hidden_size,
                num_hidden_layers=text.num_hidden_layers,
                num_attention_heads=text.num_attention_heads,
                intermediate_size=text.intermediate_size,
                vocab_size=text.vocab_size,
                max_position_embeddings=text.max_position_embeddings,
                dropout=text.dropout,
                dtype=dtype,
            ),
        )

    def vision_fields(self) -> dict[str, Any]:
        """Returns the fields of a Swin encoder that reads the phrase."""
        model = self.config.model
        vision = model.vision
        return {
            "embed_dim": vision.embed_dim,
            "depths": tuple(vision.depths),
            "num_heads": tuple(vision.num_heads),
            "window": vision.window_size,
            "drop_path_rate": vision.drop_path_rate,
            "fusion_heads": model.fusion.num_heads,
            "fusion_dropout": model.fusion.dropout,
            "remat": model.remat,
            "scan": model.scan,
        }

    def backbone(self, *, axis_name: str | None = None, **types: Any) -> nn.Module:
        """Returns the image encoder.

        Args:
          axis_name: mapped axis of batch statistics; LAVT's encoder has none.
          **types: compute and parameter type.
        """
        del axis_name
        return Backbone(**self.vision_fields(), **types)

    def decoder(self, **shared: Any) -> nn.Module:
        """Returns the decoder; `shared` are its types and axis."""
        return LavtDecoder(4 * self.config.model.vision.embed_dim, **shared)

    def without_gradient(self) -> tuple[Path, ...]:
        """Returns the paths of modules whose parameters reach no logit.

        They are parts of the state dict all the same. The reference's optimiser skips them, decay
        included, so they keep the values that they start with.
        """
        return (("backbone", f"layers_{NUM_STAGES - 1}", "gate"),)  # the last trunk goes nowhere

    def param_group(self, path: Path) -> Group | None:
        """The paper's groups; with `layer_decay` those of Clark et al. (ICLR 2020).

        A Swin block that lies k blocks below the last one learns layer_decay^k as fast as the
        decoder, the patch embedding slower still; fusion, gate and merging of a stage go with its
        last block.
        """
        text, groups = self.config.model.text, self.config.optim.groups
        if any(path[: len(unused)] == unused for unused in self.without_gradient()):
            return FROZEN
        if path[0] == "text_encoder":
            trained = text.trained_embeddings
            if "layer" in path:
                trained = int(path[path.index("layer") + 1]) < text.trained_layers
            return Group(groups.text_scale, self._decay(path)) if trained else FROZEN
        below = sum(self.config.model.vision.depths) - self._block(path)
        return Group(groups.layer_decay**below, self._decay(path))

    def _decay(self, path: Path) -> float:
        """As in the reference, biases, the decoder's norms and BERT's norms do decay."""
        if self.config.optim.groups.decay_matrices_only:
            return float(path[-1] in ("kernel", "embedding"))
        name = "/".join(path)
        spared = self._in_backbone(path) and any(word in name for word in _NO_DECAY_IN_BACKBONE)
        return float(not spared)

    def _in_backbone(self, path: Path) -> bool:
        """Tells whether the published code has a parameter in its backbone."""
        return path[0] == "backbone"

    def _block(self, path: Path) -> int:
        """Returns how many Swin blocks lie up to a parameter's own; all of them elsewhere."""
        depths = tuple(self.config.model.vision.depths)
        if path[0] != "backbone" or path[1].startswith("norm"):
            return sum(depths)
        if path[1] == "patch_embed":
            return 0
        stage = _number(path[1])
        if path[2].startswith("blocks_"):
            return sum(depths[:stage]) + _number(path[2]) + 1
        return sum(depths[: stage + 1])

    def loss_scales(self) -> dict[str, float]:
        """Cross entropy and, where it has a weight, soft Dice."""
        dice = self.config.loss.dice_weight
        return {"cross_entropy": 1.0, **({"dice": dice} if dice else {})}

    def loss_weights(self, batch: Batch) -> dict[str, jax.Array]:
        """Σ class weights of the pixels; the number of samples."""
        pixels = losses.pixel_weights(batch["target"], self.config.loss.class_weights)
        weights = {"cross_entropy": jnp.sum(pixels)}
        if "dice" in self.loss_scales():
            weights["dice"] = jnp.asarray(len(pixels), pixels.dtype)
        return weights

    def loss_sums(
        self, outputs: Outputs, batch: Batch, gather: Callable[[Any], Any]
    ) -> dict[str, jax.Array]:
        """Cross entropy over pixels (paper, section IV-B) and soft Dice over samples."""
        del gather
        target = batch["target"]
        entropy = losses.cross_entropy(outputs.log_odds, target)
        sums = {
            "cross_entropy": jnp.sum(
                entropy * losses.pixel_weights(target, self.config.loss.class_weights)
            )
        }
        if "dice" in self.loss_scales():
            sums["dice"] = jnp.sum(losses.soft_dice(outputs.log_odds, target))
        return sums

    def table(self) -> WeightTable:
        """See `contract.Model`."""
        return weights.table(self.config.model)

    def parts(self) -> list[Part]:
        """Swin below ("backbone",), BERT below ("text_encoder",)."""
        model = self.config.model
        named = [
            Part(("backbone",), model.vision.pretrained, swin_weights.load),
            Part(
                ("text_encoder",),
                model.text.pretrained,
                functools.partial(bert_weights.load, config=model.text),
            ),
        ]
        return [part for part in named if part.source]


def _number(name: str) -> int:
    return int(re.findall(r"\d+$", name)[0])
