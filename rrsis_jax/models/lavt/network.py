"""The network of LAVT's family: text encoder, language-aware encoder, decoder."""

from flax import linen as nn

from rrsis_jax.models.contract import Outputs, Tree
from rrsis_jax.models.layers.images import normalize
from rrsis_jax.models.layers.resize import resize_aligned


class LavtNetwork(nn.Module):
    """Segments what a phrase refers to (LAVT, Yang et al., CVPR 2022).

    Variables without text weights serve `encode_image` and `segment`.

    Attributes:
      backbone: language-aware image encoder.
      decoder: from stage outputs and text features to coarse logits.
      text_encoder: from token ids to text features.
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
        """Encodes tokens to {"features": float32 (B, N, D), "mask": (B, N)}."""
        mask = text["attention_mask"]
        return {"features": self.text_encoder(text["input_ids"], mask, train), "mask": mask}

    def encode_image(self, images: Tree, train: bool = False) -> Tree:
        """Normalises the image; language enters every later layer but the first stage's blocks."""
        del train
        return {"image": normalize(images["image"])}

    def segment(self, image: Tree, text: Tree, train: bool = False) -> Outputs:
        """Segments encoded images by encoded text.

        Returns:
          Log-odds (B, H, W), the target's logit minus the background's. In `aux`: `stages`, the
          four maps (B, h, w, C) of the encoder, fine first; `coarse_logits`, float32
          (B, h, w, 2) at stride 4; `logits`, float32 (B, H, W, 2).
        """
        pixels, features, mask = image["image"], text["features"], text["mask"]
        stages = self.backbone(pixels, features, mask, train)
        coarse = self.decoder(stages, features, mask, train)
        logits = resize_aligned(coarse, *pixels.shape[1:3])
        return Outputs(
            log_odds=logits[..., 1] - logits[..., 0],
            aux={"stages": stages, "coarse_logits": coarse, "logits": logits},
        )
