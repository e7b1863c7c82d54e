"""DiCoR: LAVT with a mixing of all scales; a guide to the phrase's place; a refiner of the mask.

The parts that a network has, and those of them that it trains, are its stage's:

    coarse   LAVT and the mixing of all scales, which are trained
    refiner  coarse and a refiner, which is trained on stored maps of probabilities
    guide    coarse and a guide, which is trained on stored maps of probabilities
    joint    coarse with guide and refiner, whose mixing reads the words; mixing and decoder and
             the norm of the words are trained
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.dicor.guide import Guide, strengthen, word_scales
from rrsis_jax.models.dicor.mixers import ScaleMixer, WordScaleMixer
from rrsis_jax.models.dicor.refiner import Refiner
from rrsis_jax.models.dicor.stages import COARSE, JOINT, REFINER
from rrsis_jax.models.lavt.decoder import LavtDecoder
from rrsis_jax.models.lavt.network import LavtNetwork
from rrsis_jax.models.layers.multi_scale import JointScales, resize_half_pixel
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.resize import resize_aligned
from rrsis_jax.types import Dtype, LayerTypes

GUIDED = 2  # place of the encoder's map that is guided
BYTE = 255  # of a stored probability of 1
LEAST_PROBABILITY = 1e-6


class DicorDecoder(nn.Module):
    """LAVT's decoder behind the mixing of all scales.

    Attributes:
      hidden: channels between the joins.
      mixer_depth: blocks of the mixing.
      words: whether the mixing reads the words.
      axis_name: mapped axis that batch statistics are synchronised over.
      dtype: compute type; the classifier computes in float32 or wider.
      param_dtype: type of the parameters.
    """

    hidden: int
    mixer_depth: int = 3
    words: bool = False
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, maps: tuple[jax.Array, ...], text: Tree, train: bool) -> jax.Array:
        """Decodes maps to coarse logits.

        Args:
          maps: four maps (B, h, w, C), fine to coarse.
          text: "features" (B, N, D) and "mask" (B, N).
          train: whether batch statistics are the batch's.

        Returns:
          Logits (B, h, w, 2), float32 or wider, at the size of the finest map.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        mixer_class = WordScaleMixer if self.words else ScaleMixer
        mixer = mixer_class(self.mixer_depth, name="mixer", **types)
        maps = JointScales(mixer, self.axis_name, name="scales", **types)(maps, text, train=train)
        lavt = LavtDecoder(self.hidden, self.axis_name, name="lavt", **types)
        return lavt(maps, text["features"], text["mask"], train)


class DicorNetwork(LavtNetwork):
    """Segments what a phrase refers to; see the module's text.

    Attributes:
      guide: (map, text, probabilities) → `Guidance`; None for none.
      text_norm: of the words that the guide has weighed; None where the mixing reads no words.
      refiner: (image, probabilities, train) → what to add to both logits; None for none.
      stage: which one training is of, see the module's text.
      end_ids: ids of [CLS] and [SEP], which are no words.
    """

    guide: Guide | None = None
    text_norm: nn.Module | None = None
    refiner: Refiner | None = None
    stage: str = COARSE
    end_ids: tuple[int, ...] = (101, 102)

    def __call__(
        self, images: Tree, text: Tree, train: bool = False, arrays: Tree | None = None
    ) -> Outputs:
        """Segments images by tokenized phrases.

        Args:
          images: {"image": (B, H, W, 3)}, uint8 RGB, or float and normalised already.
          text: {"input_ids", "attention_mask"}, int (B, N) each, 1 on real tokens.
          train: whether the stage's parts train; all others do what they do in evaluation.
          arrays: {"prompt": uint8 (B, h, w)}, probabilities that guide and refiner are trained on.
        """
        image = self.encode_image(images, train)
        prior = None if arrays is None else stored_probabilities(arrays["prompt"])
        if train and self.stage == REFINER and prior is not None:
            return self.refine(image, prior)
        return self.segment(image, self.encode_text(text, train), train, prior)

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        """Encodes tokens; see `TextGuidedNetwork`.

        Returns:
          "features" (B, N, D), float32 or wider; "mask" and "word_mask", int (B, N), the latter 0
          on [CLS] and [SEP].
        """
        ids, mask = text["input_ids"], text["attention_mask"]
        features = self.text_encoder(ids, mask, train and self.stage == COARSE)
        return {"features": features, "mask": mask, "word_mask": self.word_mask(ids, mask)}

    def word_mask(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Returns (B, N), the mask without [CLS] and [SEP]."""
        return mask * jnp.all(jnp.stack([ids != end for end in self.end_ids]), axis=0)

    def segment(
        self, image: Tree, text: Tree, train: bool = False, prior: jax.Array | None = None
    ) -> Outputs:
        """Segments encoded images by encoded text; see `TextGuidedNetwork`.

        In training, the refiner is not run.

        Args:
          image: see `encode_image`.
          text: see `encode_text`.
          train: whether the stage's parts train.
          prior: (B, h, w), probabilities that the guide's places are found in; None for its own.

        Returns:
          As LAVT's, and in `aux` what the guide says, `guidance`, and of a refined mask
          `prompt` (B, H, W) and `delta_logits` (B, H, W, 2).
        """
        pixels = image["image"]
        stages = self.read(pixels, text, train and self.stage == COARSE)
        return self.segment_maps(stages, pixels, text, train, prior)

    def segment_maps(
        self,
        stages: tuple[jax.Array, ...],
        pixels: jax.Array,
        text: Tree,
        train: bool = False,
        prior: jax.Array | None = None,
    ) -> Outputs:
        """Does what `segment` does once the encoder's maps are there.

        Args:
          stages: of `read`.
          pixels: normalised (B, H, W, 3).
          text: see `encode_text`.
          train: whether the stage's parts train.
          prior: see `segment`.
        """
        maps, aux = stages, dict[str, Any](stages=stages)
        if self.guide:
            x = stages[GUIDED]
            own = None if prior is None else resized(prior, *x.shape[1:3])
            guidance = self.guide(x, text, own)
            maps = (*maps[:GUIDED], strengthen(maps[GUIDED], guidance), *maps[GUIDED + 1 :])
            aux["guidance"] = guidance
            if self.text_norm:
                scales = word_scales(guidance, text["word_mask"])
                text = {**text, "features": self.text_norm(text["features"] * scales[..., None])}
        learns = train and self.stage in (COARSE, JOINT)
        coarse = at_least_float32(self.decoder(maps, text, learns))
        aux["coarse_logits"] = coarse
        logits = resize_aligned(coarse, *pixels.shape[1:3])
        if self.refiner and not train:
            prompt = jax.nn.sigmoid(logits[..., 1] - logits[..., 0])
            delta = self.refiner(pixels, prompt, False)
            aux |= {"upsampled": logits, "prompt": prompt, "delta_logits": delta}
            logits += delta
        return Outputs(log_odds=logits[..., 1] - logits[..., 0], aux={**aux, "logits": logits})

    def refine(self, image: Tree, prior: jax.Array, train: bool = True) -> Outputs:
        """Refines stored probabilities, as the refiner's training does.

        Args:
          image: see `encode_image`.
          prior: (B, h, w), from 0 to 1.
          train: whether batch statistics are the batch's.

        Returns:
          As `segment`; in `aux` `prompt`, `delta_logits` and `logits`.

        Raises:
          ValueError: if the network has no refiner.
        """
        if self.refiner is None:
            raise ValueError(f"A network of the stage {self.stage!r} has no refiner.")
        pixels = image["image"]
        prompt = resized(prior.astype(pixels.dtype), *pixels.shape[1:3])
        certain = jnp.clip(prompt, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        delta = self.refiner(pixels, prompt, train)
        logits = jnp.stack([jnp.log1p(-certain), jnp.log(certain)], axis=-1) + delta
        return Outputs(
            log_odds=logits[..., 1] - logits[..., 0],
            aux={"prompt": prompt, "delta_logits": delta, "logits": logits},
        )


def stored_probabilities(prompt: jax.Array) -> jax.Array:
    """Returns the probabilities (B, h, w) that uint8 values stand for."""
    return prompt.astype(float) / BYTE


def resized(x: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes (B, h, w) to (B, height, width), bilinearly between centres of pixels."""
    return resize_half_pixel(x[..., None], height, width)[..., 0]
