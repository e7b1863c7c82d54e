"""The frame of networks whose image encoder reads the phrase: text, encoder, decoder, log-odds."""

import jax
from flax import linen as nn

from rrsis_jax.models.layers.images import normalize
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.resize import resize_aligned
from rrsis_jax.models.outputs import Outputs


class TextGuidedNetwork(nn.Module):
    """Text encoder, an image encoder that reads the text at every stage, and a decoder.

    Attributes:
      backbone: (image (B, H, W, 3), text, train) → maps, fine to coarse.
      decoder: (maps, text, train) → two logits a position, (B, h, w, 2).
      text_encoder: (ids, mask, train) → features (B, N, D).
    """

    backbone: nn.Module
    decoder: nn.Module
    text_encoder: nn.Module

    def encode_text(self, text: dict[str, jax.Array], train: bool = False) -> dict[str, jax.Array]:
        """Encodes {"input_ids", "attention_mask"}, int (B, N) each.

        Returns:
          {"features": (B, N, D), float32 or wider; "mask": (B, N)}.
        """
        mask = text["attention_mask"]
        return {"features": self.text_encoder(text["input_ids"], mask, train), "mask": mask}

    def encode_image(
        self, images: dict[str, jax.Array], train: bool = False
    ) -> dict[str, jax.Array]:
        """Normalises {"image": uint8 (B, S, S, 3)}; a float image is taken as normalised."""
        del train
        return {"image": normalize(images["image"])}

    def segment(
        self, image: dict[str, jax.Array], text: dict[str, jax.Array], train: bool = False
    ) -> Outputs:
        """Segments what `encode_image` returned by what `encode_text` returned.

        Returns:
          Log-odds (B, S, S); `aux` holds "logits" (B, S, S, 2) and "coarse_logits" at stride 4.
        """
        maps = self.backbone(image["image"], text, train=train)
        coarse = at_least_float32(self.decoder(maps, text, train))
        logits = resize_aligned(coarse, *image["image"].shape[1:3])
        return Outputs(
            log_odds=logits[..., 1] - logits[..., 0],
            aux={"logits": logits, "coarse_logits": coarse},
        )

    def __call__(
        self,
        images: dict[str, jax.Array],
        text: dict[str, jax.Array],
        train: bool = False,
        arrays: dict[str, jax.Array] | None = None,
    ) -> Outputs:
        """Segments images by phrases; there are no further `arrays`."""
        del arrays
        return self.segment(self.encode_image(images, train), self.encode_text(text, train), train)
