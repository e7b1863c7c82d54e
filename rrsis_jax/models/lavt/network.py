"""The frame of networks whose image encoder reads the phrase, and LAVT's own."""

import jax
from flax import linen as nn

from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.resize import resize_aligned


class TextGuidedNetwork(nn.Module):
    """Text encoder, an image encoder that reads the text at every stage, and a decoder.

    Variables without text weights serve `encode_image` and `segment`.

    Attributes:
      backbone: (image (B, H, W, 3), text, train) → maps (B, h, w, C), fine to coarse.
      decoder: (maps, text, train) → two logits a position, (B, h, w, 2).
      text_encoder: (ids, mask, train) → features (B, N, D).
    """

    backbone: nn.Module
    decoder: nn.Module
    text_encoder: nn.Module

    def __call__(self, images: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments images by tokenized phrases.

        Args:
          images: {"image": (B, H, W, 3)}, uint8 RGB, or float and normalised already.
          text: {"input_ids", "attention_mask"}, int (B, N) each, 1 on real tokens.
          train: whether dropout and DropPath act (collection "dropout") and batch statistics
            are taken from the batch (mutable collection "batch_stats").
        """
        return self.segment(self.encode_image(images, train), self.encode_text(text, train), train)

    def encode_text(self, text: Tree, train: bool = False) -> Tree:
        """Encodes tokens to {"features": (B, N, D), float32 or wider; "mask": (B, N)}."""
        mask = text["attention_mask"]
        return {"features": self.text_encoder(text["input_ids"], mask, train), "mask": mask}

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        """Normalises the image; language enters every later layer but the first stage's blocks."""
        del train
        return {"image": normalize(images["image"], self.backbone.dtype)}

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments encoded images by encoded text.

        Returns:
          Log-odds (B, H, W), the target's logit minus the background's. In `aux`: `stages`, the
          maps of the image encoder; `coarse_logits`, (B, h, w, 2) at stride 4; `logits`,
          (B, H, W, 2); all float32 or wider but the maps.
        """
        pixels = image["image"]
        stages = self.read(pixels, text, train)
        coarse = at_least_float32(self.decode(stages, text, train))
        logits = resize_aligned(coarse, *pixels.shape[1:3])
        return Outputs(
            log_odds=logits[..., 1] - logits[..., 0],
            aux={"stages": stages, "coarse_logits": coarse, "logits": logits},
        )

    def read(self, pixels: jax.Array, text: Tree, train: bool) -> tuple[jax.Array, ...]:
        """Returns the maps of the image encoder."""
        return self.backbone(pixels, text, train=train)

    def decode(self, stages: tuple[jax.Array, ...], text: Tree, train: bool) -> jax.Array:
        """Returns two logits a position."""
        return self.decoder(stages, text, train)


class LavtNetwork(TextGuidedNetwork):
    """LAVT (Yang et al., CVPR 2022), whose parts take features and mask of the text apart."""

    def read(self, pixels: jax.Array, text: Tree, train: bool) -> tuple[jax.Array, ...]:
        """Returns the four maps of the image encoder, fine first."""
        return self.backbone(pixels, text["features"], text["mask"], train=train)

    def decode(self, stages: tuple[jax.Array, ...], text: Tree, train: bool) -> jax.Array:
        """Returns two logits a position at stride 4."""
        return self.decoder(stages, text["features"], text["mask"], train)
