"""RSRefSeg: what SigLIP finds similar to the phrase becomes prompts of SAM."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.constants import IMAGENET_MEAN, IMAGENET_STD
from rrsis_jax.models.backbones.sam.network import Sam
from rrsis_jax.models.backbones.siglip.network import Siglip
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.adapters import ADAPTER
from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.transformer import product
from rrsis_jax.types import Dtype, LayerTypes

Tree = dict[str, jax.Array]


class Prompter(nn.Module):
    """Convolutions from activated features to sparse prompts.

    Attributes:
      features: width D of the prompts.
      halvings: how often the map is halved.
      axis_name: mapped axis over which batch statistics are synchronised; None for none.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int = 256
    halvings: int = 2
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, activated: jax.Array, places: jax.Array, train: bool) -> jax.Array:
        """Makes prompts.

        Args:
          activated: (B, h, w, 3C).
          places: positions of the map (1, h, w, D).
          train: whether batch statistics are updated.

        Returns:
          One prompt a place of the smallest map, row by row: (B, K, D).
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(nn.Conv, self.features, kernel_init=uniform_init, **types)
        norm = functools.partial(BatchNorm, axis_name=self.axis_name, **types)
        x = conv((1, 1), use_bias=False, name="channel_conv")(activated)
        x = exact_gelu(norm(name="channel_bn")(x, train)) + places.astype(self.dtype)
        for index in range(self.halvings):
            x = conv((3, 3), 2, 1, use_bias=False, name=f"spatial_conv{index}")(x)
            x = exact_gelu(norm(name=f"spatial_bn{index}")(x, train))
        x = conv((1, 1), name="out_conv")(x)
        return x.reshape(x.shape[0], -1, self.features)


class RsRefSeg(nn.Module):
    """The network; encoders and prompter come as modules.

    The image encoders see no text: `encode_image` runs once, `segment` for each phrase.

    Known difference: each phrase is read by its own length. The published network pads phrases to
    the longest of the batch and lets padding take part, so that a prediction depends on its batch
    mates; masks of ones do that here.

    Attributes:
      siglip: both towers.
      sam: with `decoder_epsilon` of Hugging Face's implementation, 1e-6, as published.
      prompter: what lies between.
      dense: whether the similarity to the whole phrase is SAM's mask prompt.
    """

    siglip: Siglip
    sam: Sam
    prompter: Prompter
    dense: bool = True

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        """Encodes phrases.

        Args:
          text: "input_ids" int (B, N), and "attention_mask" (B, N), 1 on real tokens.
          train: whether dropout of adapters acts.

        Returns:
          "features" (B, N, C), "pooled" (B, C), "mask" (B, N).
        """
        mask = text["attention_mask"]
        features, pooled = self.siglip.encode_text(text["input_ids"], mask, train)
        return {"features": features, "pooled": pooled, "mask": mask}

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        """Encodes images.

        Args:
          images: "image" (B, S, S, 3), RGB, uint8 or float scaled to [0, 1].
          train: whether dropout of adapters acts.

        Returns:
          "siglip" (B, h, w, C) and "sam" (B, S / 16, S / 16, D).
        """
        image = images["image"]
        if image.dtype == jnp.uint8:
            image = image.astype(self.sam.param_dtype) / 255
        side = self.siglip.image_size
        small = interpolation.resize((image - 0.5) / 0.5, side, side)
        features, _ = self.siglip.encode_image(small, train)
        grid = side // self.siglip.patch_size
        mean, std = (
            jnp.asarray(x, image.dtype).reshape(1, 1, 1, 3) for x in (IMAGENET_MEAN, IMAGENET_STD)
        )
        return {
            "siglip": features.reshape(features.shape[0], grid, grid, -1),
            "sam": self.sam.encode_image((image - mean) / std, train),
        }

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments what each phrase names.

        Args:
          image: of `encode_image`.
          text: of `encode_text`.
          train: whether batch statistics are updated.

        Returns:
          Log-odds (B, S, S); and in `aux` what comparisons read: "local_activation",
          "global_logit", "activated", "sparse_prompts", "dense_prompts", "coarse_logits".
        """
        features, embedding = image["siglip"], image["sam"]
        local, logit = self._similarities(features, text)
        activated = self._activate(features, local, logit, text["mask"])
        places = self.sam.positions.grid(*features.shape[1:3])
        sparse = self.prompter(activated, places, train)
        encoder, grid = self.sam.prompt_encoder, embedding.shape[1]
        if self.dense:
            mask = interpolation.resize(logit[..., None], 4 * grid, 4 * grid)
            dense = encoder.embed_mask(mask)
        else:
            dense = encoder.embed_no_mask(embedding.shape[0], grid, grid)
        coarse = self.sam.decode(embedding, sparse, dense)["masks"][..., :1]
        side = self.sam.image_size
        aux = {
            "local_activation": local,
            "global_logit": logit,
            "activated": activated,
            "sparse_prompts": sparse,
            "dense_prompts": dense,
            "coarse_logits": coarse,
        }
        return Outputs(interpolation.resize(coarse, side, side)[..., 0], aux=aux)

    def _similarities(self, features: jax.Array, text: Tree) -> tuple[jax.Array, jax.Array]:
        """Compares places with words and with the phrase, by SigLIP's scalars.

        Returns:
          Activations by words (B, N, h, w), from 0 to 1, and log-odds by the phrase (B, h, w).
        """

        def unit(x: jax.Array) -> jax.Array:
            x = at_least_float32(x)
            return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

        scale, bias = jnp.exp(self.siglip.logit_scale), self.siglip.logit_bias
        places, words, phrase = map(unit, (features, text["features"], text["pooled"]))
        by_word = product("bhwc,bnc->bnhw", places, words)
        by_phrase = product("bhwc,bc->bhw", places, phrase)
        local = nn.sigmoid(scale.reshape(1, 1, 1, 1) * by_word + bias.reshape(1, 1, 1, 1))
        return local, scale.reshape(1, 1, 1) * by_phrase + bias.reshape(1, 1, 1)

    def _activate(
        self, features: jax.Array, local: jax.Array, logit: jax.Array, mask: jax.Array
    ) -> jax.Array:
        """Returns features by word activation, by phrase activation, and as they are."""
        real = (mask != 0).astype(local.dtype)[..., None, None]
        mean = jnp.sum(local * real, axis=1) / jnp.sum(real, axis=1)
        by_word = features * (0.5 * (1.0 + mean))[..., None].astype(features.dtype)
        by_phrase = features * nn.sigmoid(logit)[..., None].astype(features.dtype)
        return jnp.concatenate([by_word, by_phrase, features], axis=-1)

    def __call__(self, images: Tree, text: Tree, train: bool = False) -> Outputs:
        """Returns `segment` of `encode_image` and `encode_text`."""
        return self.segment(self.encode_image(images, train), self.encode_text(text, train), train)


def is_trained(path: Sequence[str]) -> bool:
    """Returns whether the published training changes the parameter at `path`.

    Adapters, the prompter, SAM's prompt encoder and mask decoder; SigLIP's two scalars are not.
    """
    return path[-1] in ADAPTER or path[0] == "prompter" or tuple(path[:2]) in _TRAINED_PARTS


_TRAINED_PARTS = {("sam", "prompt_encoder"), ("sam", "mask_decoder")}
