"""RSRefSeg 2: SigLIP 2 understands the phrase, SAM 2 draws the mask."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.constants import IMAGENET_MEAN, IMAGENET_STD
from rrsis_jax.models.backbones.sam2.network import STRIDE, Sam2, stable_mask
from rrsis_jax.models.backbones.siglip.network import Siglip
from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.adapters import ADAPTER
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.models.layers.transformer import product
from rrsis_jax.models.rsrefseg2.prompter import Prompter


class RsRefSeg2(nn.Module):
    """The network; encoders and prompter come as modules.

    The image encoders see no text: `encode_image` runs once, `segment` for each phrase.

    Known difference: each phrase is read by its own length, as the published network reads a
    phrase that stands alone. That network pads phrases to the longest of the batch and lets padding
    take part, so that what it says of one depends on its batch mates; see `shared_padding`.

    Attributes:
      siglip: both towers.
      sam2: the still-image network.
      prompter: what lies between.
      stability: whether outside training an unstable mask gives way to the most trusted of the
        three others (SAM 2's rule; their guesses of the IoU are never trained here).
      shared_padding: whether padding up to the longest phrase of the batch is read, as published.
    """

    siglip: Siglip
    sam2: Sam2
    prompter: Prompter
    stability: bool = True
    shared_padding: bool = False

    def setup(self) -> None:
        """Makes the two scalars of the contrastive loss, which start as published."""
        types = ((1,), self.siglip.param_dtype)
        self.contrast_scale = self.param(
            "contrast_scale", nn.initializers.constant(np.log(1 / 0.07)), *types
        )
        self.contrast_bias = self.param(
            "contrast_bias", nn.initializers.constant(np.log(0.5)), *types
        )

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        """Encodes phrases.

        Args:
          text: "input_ids" int (B, N), and "attention_mask" (B, N), 1 on real tokens.
          train: whether dropout of adapters acts.

        Returns:
          "features" (B, N, C), "pooled" (B, C), "mask" (B, N).
        """
        mask = text["attention_mask"]
        if self.shared_padding:
            mask = to_the_longest(mask)
        features, pooled = self.siglip.encode_text(text["input_ids"], mask, train)
        return {"features": features, "pooled": pooled, "mask": mask}

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        """Encodes images.

        Args:
          images: "image" (B, S, S, 3), RGB, uint8 or float scaled to [0, 1].
          train: whether dropout of adapters acts.

        Returns:
          "siglip" (B, h, w, C), and of SAM 2 "stride16", "stride8" and "stride4", see
          `Sam2.encode_image`.
        """
        image = images["image"]
        if image.dtype == jnp.uint8:
            image = image.astype(wide_type(self.sam2.dtype)) / 255
        side = self.siglip.image_size
        small = interpolation.resize((image - 0.5) / 0.5, side, side)
        features, _ = self.siglip.encode_image(small, train)
        grid = side // self.siglip.patch_size
        mean, std = (
            jnp.asarray(x, image.dtype).reshape(1, 1, 1, 3) for x in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return {
            "siglip": features.reshape(features.shape[0], grid, grid, -1),
            **self.sam2.encode_image((image - mean) / std, train),
        }

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments what each phrase names.

        Args:
          image: of `encode_image`.
          text: of `encode_text`.
          train: whether batch statistics are updated; then the first mask is returned always.

        Returns:
          Log-odds (B, S, S). In `aux` what losses and comparisons read: "text_queries1",
          "text_queries2", "image_map", "contrast_scale" and "contrast_bias" (B,),
          "sparse_prompts", "dense_map", "dense_prompts", "dense_embedding", "all_masks",
          "iou_scores", "object_score", "coarse_logits" and, outside training, "stability".
        """
        prompts = self.prompter(image["siglip"], text["features"], text["mask"], train)
        dense = self._similarity_map(prompts["dense"], text["pooled"])
        embedded = self.sam2.prompt_encoder.embed_mask(dense)
        decoded = self.sam2.decode(image, prompts["sparse"], embedded)
        coarse, stability = decoded["masks"][..., :1], {}
        if self.stability and not train:
            coarse, stability["stability"] = stable_mask(decoded["masks"], decoded["iou"])
        side = self.sam2.image_size
        scalars = {
            name: jnp.broadcast_to(value, coarse.shape[:1])
            for name, value in (
                ("contrast_scale", self.contrast_scale),
                ("contrast_bias", self.contrast_bias),
            )
        }
        return Outputs(
            log_odds=interpolation.resize(coarse, side, side)[..., 0],
            aux={
                "text_queries1": prompts["text_queries1"],
                "text_queries2": prompts["text_queries2"],
                "image_map": image["siglip"],
                **scalars,
                "sparse_prompts": prompts["sparse"],
                "dense_map": prompts["dense"],
                "dense_prompts": dense,
                "dense_embedding": embedded,
                "all_masks": decoded["masks"],
                "iou_scores": decoded["iou"],
                "object_score": decoded["object_score"],
                "coarse_logits": coarse,
                **stability,
            },
        )

    def _similarity_map(self, dense: jax.Array, pooled: jax.Array) -> jax.Array:
        """Compares each place of a map (B, h, w, C) with the phrase (B, C), by SigLIP's scalars.

        Returns:
          Log-odds (B, 4 · grid, 4 · grid, 1), the mask prompt of SAM 2.
        """
        side = 4 * self.sam2.image_size // STRIDE
        dense = at_least_float32(interpolation.resize(dense, side, side, aligned=True))
        pooled = at_least_float32(pooled)
        dense = dense / jnp.linalg.norm(dense, axis=-1, keepdims=True)
        pooled = pooled / jnp.linalg.norm(pooled, axis=-1, keepdims=True)
        scale, bias = (
            x.reshape(1, 1, 1, 1) for x in (self.siglip.logit_scale, self.siglip.logit_bias)
        )
        cosine = product("bhwc,bc->bhw", dense, pooled)[..., None]
        return jnp.exp(scale) * cosine + bias

    def __call__(self, images: Tree, text: Tree, train: bool = False) -> Outputs:
        """Returns `segment` of `encode_image` and `encode_text`."""
        return self.segment(self.encode_image(images, train), self.encode_text(text, train), train)


def to_the_longest(mask: jax.Array) -> jax.Array:
    """Returns a mask (B, N) of each phrase and its padding up to the longest one's end."""
    longest = jnp.max(jnp.sum(mask != 0, axis=1))
    inside = jnp.arange(mask.shape[1]) < longest
    return jnp.broadcast_to(inside[None].astype(mask.dtype), mask.shape)


def is_trained(path: Sequence[str]) -> bool:
    """Returns whether the published training changes the parameter at `path`, or could.

    Adapters, the prompter, SAM 2's prompt encoder and mask decoder with what it reads, and the
    scalars of both similarities. Some of them have no gradient, see `has_gradient`.
    """
    return path[-1] in ADAPTER or path[0] in _TRAINED_PARTS or tuple(path[:2]) in _TRAINED_PARTS


def has_gradient(path: Sequence[str]) -> bool:
    """Returns whether the loss depends on the parameter at `path`.

    Neither on guesses of the IoU and of an object's presence, nor on prompts of points, boxes and
    absent masks, nor on SigLIP's pooled image. The published optimiser skips them, decay included.
    """
    below = tuple(path)
    return not any(below[: len(unused)] == unused for unused in _WITHOUT_GRADIENT)


_TRAINED_PARTS = {
    "prompter",
    "contrast_scale",
    "contrast_bias",
    *(
        ("sam2", name)
        for name in ("prompt_encoder", "mask_decoder", "conv_s0", "conv_s1", "no_memory")
    ),
    ("siglip", "logit_scale"),
    ("siglip", "logit_bias"),
}

_WITHOUT_GRADIENT = (
    *(
        ("sam2", "prompt_encoder", name)
        for name in (*(f"label_{label}" for label in range(4)), "not_a_point", "no_mask")
    ),
    ("sam2", "mask_decoder", "iou_head"),
    ("sam2", "mask_decoder", "object_head"),
    ("siglip", "vision", "head"),
)
