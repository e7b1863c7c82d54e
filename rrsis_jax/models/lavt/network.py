"""The network of LAVT's family: text encoder, language-aware encoder, decoder."""

import jax
from flax import linen as nn

from rrsis_jax.models.layers.resize import resize_aligned


class ReferringSegmenter(nn.Module):
    """Segments what a phrase refers to (LGCE, Yuan et al., TGRS 2024; LAVT is the baseline).

    Variables without text weights serve the methods that take text features.

    Attributes:
      backbone: language-aware image encoder.
      decoder: from stage outputs and text features to coarse logits.
      text_encoder: from token ids to text features.
    """

    backbone: nn.Module
    decoder: nn.Module
    text_encoder: nn.Module

    def __call__(
        self,
        image: jax.Array,
        input_ids: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Segments an image by a tokenized phrase.

        Args:
          image: normalised (B, H, W, 3), of any size.
          input_ids: int (B, N), padded with 0.
          attention_mask: (B, N), 1 on real tokens.
          train: whether dropout and DropPath act (collection "dropout") and batch statistics
            are taken from the batch (mutable collection "batch_stats").

        Returns:
          float32 logits (B, H, W, 2).
        """
        text_features = self.encode_text(input_ids, attention_mask, train)
        return self.segment(image, text_features, attention_mask, train)

    def encode_text(
        self, input_ids: jax.Array, attention_mask: jax.Array, train: bool = False
    ) -> jax.Array:
        """Encodes token ids (B, N) to float32 text features (B, N, D)."""
        return self.text_encoder(input_ids, attention_mask, train)

    def encode_image(
        self,
        image: jax.Array,
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> tuple[jax.Array, ...]:
        """Encodes an image (B, H, W, 3) with its phrase to four maps (B, h, w, C), fine first."""
        return self.backbone(image, text_features, attention_mask, train)

    def decode(
        self,
        features: tuple[jax.Array, ...],
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Decodes the four maps to float32 logits (B, h, w, 2) at stride 4."""
        return self.decoder(features, text_features, attention_mask, train)

    def segment(
        self,
        image: jax.Array,
        text_features: jax.Array,
        attention_mask: jax.Array,
        train: bool = False,
    ) -> jax.Array:
        """Segments an image by text features (B, N, D); see `__call__` for the rest."""
        features = self.encode_image(image, text_features, attention_mask, train)
        coarse = self.decode(features, text_features, attention_mask, train)
        return resize_aligned(coarse, *image.shape[1:3])
