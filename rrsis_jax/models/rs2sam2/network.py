"""RS2-SAM2: BEiT-3 reads image and phrase, SAM 2 draws what it points at."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.beit3.network import Beit3
from rrsis_jax.models.backbones.sam2.network import Sam2
from rrsis_jax.models.contract import Outputs
from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.rs2sam2.fusion import FusedHiera, fresh_attention, fresh_dense
from rrsis_jax.types import LayerTypes

NUM_HEADS = 8  # of the attentions outside the encoders

Tree = dict[str, jax.Array]


class FusedSam2(Sam2):
    """SAM 2 with `FusedHiera` for its trunk."""

    trunk_class: ClassVar[type[nn.Module]] = FusedHiera


class Rs2Sam2Network(nn.Module):
    """The network; encoders come as modules.

    Attributes:
      beit3: reads a small image and the phrase.
      sam2: reads the large image and the words.
      attend_padding: whether maps read padded words, as the published network does in a batch;
        then a prediction depends on the lengths of its batch mates.
    """

    beit3: Beit3
    sam2: FusedSam2
    attend_padding: bool = False

    def setup(self) -> None:
        """Makes what lies between the encoders."""
        types: LayerTypes = {"dtype": self.sam2.dtype, "param_dtype": self.sam2.param_dtype}
        dense = functools.partial(fresh_dense, **types)
        attention = functools.partial(fresh_attention, NUM_HEADS, **types)
        wide, narrow = self.beit3.width, self.sam2.features
        self.mask_token = attention()
        self.mask_linear = dense(wide, wide)
        self.mask_product = dense(wide, 1)
        self.sentence_fc1 = dense(wide, wide)
        self.sentence_fc2 = dense(wide, narrow)
        self.text_features = dense(wide, narrow)
        self.sentence_weight = dense(narrow, 1)
        self.word_attention = attention()

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        """Returns the phrases as they came: BEiT-3 reads them with the image.

        Args:
          text: "input_ids" int (B, N), and "attention_mask" (B, N), 1 on real tokens.
          train: nothing here differs in training.
        """
        del train
        return text

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        """Normalises both images.

        Args:
          images: "image" (B, S, S, 3) for SAM 2 and "text_image" (B, T, T, 3) for BEiT-3, both of
            the same scene; uint8 RGB, or float that is normalised already.
          train: nothing here differs in training.
        """
        del train
        return {name: normalize(image, self.sam2.dtype) for name, image in images.items()}

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments what each phrase names.

        Args:
          image: of `encode_image`.
          text: of `encode_text`.
          train: whether dropout of low-rank adapters acts.

        Returns:
          Log-odds (B, S, S): twice the logit less one, because the published network gives a logit
          p to the object and 1 − p to all else. In `aux` "mask_logits" p (B, S, S),
          "sentence_weight" (B,), "mask_token", "mask_prompt", "sentence_prompt", "text_features",
          "sparse_prompts", "dense_prompts", "stride4", "stride8", "fused_image_embedding",
          "all_masks", "iou_scores" and "object_score".
        """
        mask = text["attention_mask"]
        tokens, words = self.beit3(image["text_image"], text["input_ids"], mask, train)
        first, patches = tokens[:, :1], tokens[:, 1:]
        token = first * self.mask_token(first, patches, patches)
        mask_prompt = self._mask_prompt(token, patches)
        sentence = self.sentence_fc2(nn.relu(self.sentence_fc1(first)))
        words = self.text_features(words)
        read = jnp.ones_like(mask) if self.attend_padding else mask

        maps = self.sam2.trunk(image["image"], words, read, train)
        features = self.sam2.image_features(maps, train)
        features = {**features, "stride16": self._fuse(features["stride16"], words, read)}
        grid = features["stride16"].shape[1]
        prompt = interpolation.resize(mask_prompt, 4 * grid, 4 * grid)
        dense = self.sam2.prompt_encoder.embed_mask(prompt)
        decoded = self.sam2.decode(features, sentence, dense)
        side = self.sam2.image_size
        logits = interpolation.resize(decoded["masks"][..., :1], side, side)[..., 0]
        aux = {
            "mask_logits": logits,
            "sentence_weight": at_least_float32(self.sentence_weight(words[:, 0])[:, 0]),
            "mask_token": token,
            "mask_prompt": mask_prompt,
            "sentence_prompt": sentence,
            "text_features": words,
            "sparse_prompts": sentence,
            "dense_prompts": dense,
            "stride4": features["stride4"],
            "stride8": features["stride8"],
            "fused_image_embedding": features["stride16"],
            "all_masks": decoded["masks"],
            "iou_scores": decoded["iou"],
            "object_score": decoded["object_score"],
        }
        return Outputs(log_odds=2.0 * logits - 1.0, aux=aux)

    def _mask_prompt(self, token: jax.Array, patches: jax.Array) -> jax.Array:
        """Compares BEiT-3's patches (B, P, W) with a token (B, 1, W): (B, √P, √P, 1) in (0, 1)."""
        side = self.beit3.image_size // self.beit3.patch_size
        product = self.mask_product(patches * self.mask_linear(token))
        return nn.sigmoid(at_least_float32(product)).reshape(-1, side, side, 1)

    def _fuse(self, embedding: jax.Array, words: jax.Array, mask: jax.Array) -> jax.Array:
        """Multiplies the image's embedding (B, h, w, D) by what it reads in the words (B, N, D)."""
        places = self.sam2.positions.grid(*embedding.shape[1:3]).astype(embedding.dtype)
        query = (embedding + places).reshape(embedding.shape[0], -1, embedding.shape[-1])
        read = self.word_attention(query, words, words, mask)
        return embedding * read.reshape(embedding.shape)

    def __call__(self, images: Tree, text: Tree, train: bool = False) -> Outputs:
        """Returns `segment` of `encode_image` and `encode_text`."""
        return self.segment(self.encode_image(images, train), self.encode_text(text, train), train)
