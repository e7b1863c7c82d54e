"""SAM 2's still-image network: Hiera, feature pyramid, prompt encoder, mask decoder."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.backbones.sam.decoder import MaskDecoder
from rrsis_jax.models.backbones.sam.prompts import FourierPositions, PromptEncoder, encode_prompts
from rrsis_jax.models.backbones.sam2.hiera import FeaturePyramid, Hiera
from rrsis_jax.models.layers.adapters import Lora
from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.types import Dtype, LayerTypes

STRIDE = 16  # of the image's embedding


class Sam2(nn.Module):
    """SAM 2 on still images: the image is encoded once, masks for each prompt.

    Attributes:
      embed_dim: see `Hiera`, as all up to `background`.
      num_heads: see there.
      depths: see there.
      windows: see there.
      global_blocks: see there.
      background: see there.
      image_size: side of the image whose pixels prompts name.
      features: width D of embeddings and prompts.
      mask_channels: see `PromptEncoder`.
      decoder_heads: see `MaskDecoder`.
      decoder_mlp_dim: see there.
      iou_hidden: see there.
      lora: see `Lora`.
      remat: see `Hiera`.
      scan: see there.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    embed_dim: int
    num_heads: int
    depths: tuple[int, ...]
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]
    background: int
    image_size: int = 1024
    features: int = 256
    mask_channels: int = 16
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_hidden: int = 256
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    # No field: a network that changes the trunk is a class of its own.
    trunk_class: ClassVar[type[nn.Module]] = Hiera

    def setup(self) -> None:
        """Makes the parts."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared = ("embed_dim", "num_heads", "depths", "windows", "global_blocks", "background")
        shared += ("lora", "remat", "scan")
        self.trunk = self.trunk_class(**{name: getattr(self, name) for name in shared}, **types)
        self.neck = FeaturePyramid(self.features, self.lora, **types)
        self.no_memory = self.param(
            "no_memory", nn.initializers.normal(0.02), (1, 1, self.features), self.param_dtype
        )
        self.positions = FourierPositions(self.features, self.param_dtype)
        self.prompt_encoder = PromptEncoder(self.features, self.mask_channels, **types)
        self.conv_s0 = nn.Conv(self.features // 8, (1, 1), kernel_init=uniform_init, **types)
        self.conv_s1 = nn.Conv(self.features // 4, (1, 1), kernel_init=uniform_init, **types)
        self.mask_decoder = MaskDecoder(
            self.decoder_heads,
            self.decoder_mlp_dim,
            self.iou_hidden,
            high_resolution=True,
            **types,
        )

    def encode_image(self, image: jax.Array, train: bool = False) -> dict[str, jax.Array]:
        """Encodes an image.

        Args:
          image: (B, S, S, 3), normalised.
          train: whether dropout of adapters acts.

        Returns:
          "stride16" (B, S / 16, S / 16, D), the embedding, and for the decoder "stride8"
          (B, S / 8, S / 8, D / 4) and "stride4" (B, S / 4, S / 4, D / 8).
        """
        return self.image_features(self.trunk(image, train), train)

    def image_features(
        self, maps: tuple[jax.Array, ...], train: bool = False
    ) -> dict[str, jax.Array]:
        """Makes of Hiera's maps of strides 4, 8, 16 and 32 what `encode_image` returns."""
        stride4, stride8, stride16 = self.neck(maps, train)
        return {
            "stride16": stride16 + self.no_memory[None].astype(stride16.dtype),
            "stride8": self.conv_s1(stride8),
            "stride4": self.conv_s0(stride4),
        }

    def encode_prompts(
        self,
        points: jax.Array | None = None,
        labels: jax.Array | None = None,
        boxes: jax.Array | None = None,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the sparse (B, K, D) and the dense prompt (B, S / 16, S / 16, D).

        Arguments and errors are those of `prompts.encode_prompts` of SAM.
        """
        grid = self.image_size // STRIDE
        return encode_prompts(
            self.positions,
            self.prompt_encoder,
            self.image_size,
            grid,
            points,
            labels,
            boxes,
            mask,
        )

    def decode(
        self, features: dict[str, jax.Array], sparse: jax.Array, dense: jax.Array
    ) -> dict[str, jax.Array]:
        """Makes masks of what `encode_image` returned; see `MaskDecoder` for shapes."""
        places = self.positions.grid(*features["stride16"].shape[1:3])
        return self.mask_decoder(
            features["stride16"], places, sparse, dense, features["stride8"], features["stride4"]
        )

    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        """Segments what is at the centre of the image; a first run makes all parameters by it."""
        batch, side = len(image), self.image_size
        points = jnp.full((batch, 1, 2), side / 2)
        labels = jnp.ones((batch, 1), jnp.int32)
        mask = jnp.zeros((batch, *(4 * side // STRIDE,) * 2, 1), self.dtype)
        prompts = self.encode_prompts(points, labels, mask=mask)
        return self.decode(self.encode_image(image), *prompts)


def stable_mask(
    masks: jax.Array, iou: jax.Array, delta: float = 0.05, threshold: float = 0.98
) -> tuple[jax.Array, jax.Array]:
    """Chooses the mask of an unambiguous prompt, as SAM 2 does outside training.

    Mask 0, unless it changes too much with the threshold of its logits; then the one of masks 1 to
    3 whose IoU is guessed to be the largest.

    Args:
      masks: logits (B, H, W, 4).
      iou: guesses (B, 4).
      delta: the threshold is moved by so much up and down.
      threshold: least ratio of the two areas of a stable mask.

    Returns:
      The mask (B, H, W, 1), and the ratio (B,), 1 where both areas are empty.
    """
    single = masks[..., 0]
    smaller, larger = (jnp.sum(single > bound, axis=(1, 2)) for bound in (delta, -delta))
    stability = jnp.where(larger > 0, smaller / jnp.maximum(larger, 1), 1.0)
    best = 1 + jnp.argmax(iou[:, 1:], axis=1)
    chosen = jnp.where(stability >= threshold, 0, best)
    return jnp.take_along_axis(masks, chosen[:, None, None, None], axis=3), stability


def sine_positions(height: int, width: int, features: int) -> np.ndarray:
    """Returns float64 (height, width, features): sines and cosines of rows, then of columns.

    The positions that SAM 2 gives a pyramid's maps for its memory, which a still image has not.
    """
    frequency = 10000.0 ** (-np.arange(0, features // 2, 2) * 2.0 / features)

    def half(size: int) -> np.ndarray:
        place = 2.0 * np.pi * np.arange(1, size + 1) / (size + 1e-6)
        phase = place[:, None] * frequency
        return np.stack([np.sin(phase), np.cos(phase)], axis=-1).reshape(size, features // 2)

    shape = (height, width, features // 2)
    rows = np.broadcast_to(half(height)[:, None], shape)
    return np.concatenate([rows, np.broadcast_to(half(width)[None], shape)], axis=-1)
