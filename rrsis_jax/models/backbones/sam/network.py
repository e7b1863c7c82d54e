"""SAM's image encoder, a ViT with windows and relative positions, and the network around it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.backbones.sam.decoder import MaskDecoder
from rrsis_jax.models.backbones.sam.prompts import FourierPositions, PromptEncoder, encode_prompts
from rrsis_jax.models.layers.adapters import Conv, Dense, Lora
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.long_attention import attend_heads
from rrsis_jax.models.layers.transformer import (
    FeedForward,
    LayerNorm,
    from_windows,
    product,
    run_layers,
    split_heads,
    to_windows,
)
from rrsis_jax.types import Dtype, LayerTypes


class RelativeAttention(nn.Module):
    """Self-attention over a square, with decomposed relative positions (Li et al., MViTv2).

    Attributes:
      num_heads: attention heads.
      lora: see `Lora`.
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, S, S, C) to the same shape."""
        batch, side, _, channels = x.shape
        dense = functools.partial(
            Dense,
            lora=self.lora,
            kernel_init=transformer_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        qkv = dense(3 * channels, name="qkv")(x, train)
        query, key, value = (split_heads(part, self.num_heads) for part in jnp.split(qkv, 3, -1))
        # The positions' part is of the unscaled query.
        rows, columns = (self._distances(name, side, query) for name in ("rel_pos_h", "rel_pos_w"))
        biases = (
            product("bijhd,ikd->bhijk", query, rows),
            product("bijhd,jld->bhijl", query, columns),
        )

        def add(logits: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
            square = logits.reshape(*logits.shape[:-1], side, side)
            return (square + rows[..., None] + columns[..., None, :]).reshape(logits.shape)

        scaled = query * query.shape[-1] ** -0.5
        tokens = [x.reshape(batch, side * side, *x.shape[3:]) for x in (scaled, key, value)]
        by_token = tuple(x.reshape(*x.shape[:2], side * side, side) for x in biases)
        out = attend_heads(tokens[0], tokens[1], tokens[2], by_token, add, train)
        return dense(channels, name="proj")(out.reshape(batch, side, side, channels), train)

    def _distances(self, name: str, side: int, query: jax.Array) -> jax.Array:
        """Returns (query place, key place, head width): the table's row for each distance."""
        shape = (2 * side - 1, query.shape[-1])
        table = self.param(name, nn.initializers.zeros, shape, self.param_dtype)
        place = np.arange(side)
        return table[place[:, None] - place[None, :] + side - 1].astype(query.dtype)


class VitLayer(nn.Module):
    """Attention and feed-forward, each pre-normalised and with a residual.

    Attributes:
      num_heads: attention heads.
      window: side of a window; 0 for attention over the whole map.
      mlp_dim: inner width of the feed-forward layer.
      lora: see `Lora`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    window: int
    mlp_dim: int
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape; padded places of windows are attended to."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = RelativeAttention(self.num_heads, self.lora, name="attn", **types)
        branch = LayerNorm(epsilon=1e-6, name="norm1", **types)(x)
        if self.window:
            branch = attention(to_windows(branch, self.window), train)
            branch = from_windows(branch, *x.shape[1:3])
        else:
            branch = attention(branch, train)
        x = x + branch
        mlp = FeedForward(self.mlp_dim, lora=self.lora, name="mlp", **types)
        return x + mlp(LayerNorm(epsilon=1e-6, name="norm2", **types)(x), train)


class ImageEncoder(nn.Module):
    """SAM's ViT and its neck.

    Attributes:
      width: channels C of the layers.
      depth: number of layers.
      num_heads: attention heads.
      global_layers: which layers attend over the whole map.
      mlp_dim: inner width of the feed-forward layers; None for four times `width`.
      image_size: side of the image.
      patch_size: side of a patch.
      window: side of a window, in patches.
      features: channels D of the result.
      lora: see `Lora`.
      remat: whether layers are recomputed in the backward pass.
      scan: whether equal neighbouring layers are compiled once.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    width: int
    depth: int
    num_heads: int
    global_layers: tuple[int, ...]
    mlp_dim: int | None = None
    image_size: int = 1024
    patch_size: int = 16
    window: int = 14
    features: int = 256
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps the normalised image (B, S, S, 3) to its embedding (B, S / 16, S / 16, D).

        Raises:
          ValueError: if the image has another size than the position table is for.
        """
        if image.shape[1:3] != (self.image_size, self.image_size):
            raise ValueError(
                f"SAM's image encoder got an image of {image.shape[1]}×{image.shape[2]} pixels; "
                f"expected {self.image_size}×{self.image_size}, the size its position table was "
                "made for. Resize the image."
            )
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        patch, side = (self.patch_size, self.patch_size), self.image_size // self.patch_size
        x = nn.Conv(self.width, patch, patch, "VALID", name="patch_embed", **types)(image)
        shape = (1, side, side, self.width)
        x = x + self.param("pos_embed", transformer_init, shape, self.param_dtype).astype(x.dtype)
        shared = {
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim or 4 * self.width,
            "lora": self.lora,
            **types,
        }
        fields = [
            {
                "name": f"layers_{index}",
                "window": 0 if index in self.global_layers else self.window,
                **shared,
            }
            for index in range(self.depth)
        ]
        x = run_layers(self, VitLayer, fields, x, train, remat=self.remat, scan=self.scan)
        conv = functools.partial(
            Conv, self.features, use_bias=False, padding="SAME", lora=self.lora, **types
        )
        norm = functools.partial(LayerNorm, epsilon=1e-6, **types)
        x = norm(name="neck_norm1")(conv(kernel_size=(1, 1), name="neck_conv1")(x, train))
        return norm(name="neck_norm2")(conv(kernel_size=(3, 3), name="neck_conv2")(x, train))


class Sam(nn.Module):
    """Segment Anything: the image is encoded once, masks for each prompt.

    Known difference between the published implementations: the norms of the decoder's two layers
    have epsilon 1e-5 in the authors' and 1e-6 in Hugging Face's.

    Attributes:
      width: see `ImageEncoder`, as all up to `window`.
      depth: see there.
      num_heads: see there.
      global_layers: see there.
      mlp_dim: see there.
      image_size: see there.
      patch_size: see there.
      window: see there.
      features: width D of embeddings and prompts.
      mask_channels: see `PromptEncoder`.
      decoder_heads: see `MaskDecoder`.
      decoder_mlp_dim: see there.
      decoder_epsilon: see there.
      iou_hidden: see there.
      lora: see `Lora`.
      remat: see `ImageEncoder`.
      scan: see there.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    width: int
    depth: int
    num_heads: int
    global_layers: tuple[int, ...]
    mlp_dim: int | None = None
    image_size: int = 1024
    patch_size: int = 16
    window: int = 14
    features: int = 256
    mask_channels: int = 16
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    decoder_epsilon: float = 1e-5
    iou_hidden: int = 256
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def setup(self) -> None:
        """Makes the parts."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shared = ("width", "depth", "num_heads", "global_layers", "mlp_dim", "image_size")
        shared += ("patch_size", "window", "features", "lora", "remat", "scan")
        self.image_encoder = ImageEncoder(**{name: getattr(self, name) for name in shared}, **types)
        self.positions = FourierPositions(self.features, self.param_dtype)
        self.prompt_encoder = PromptEncoder(self.features, self.mask_channels, **types)
        self.mask_decoder = MaskDecoder(
            self.decoder_heads,
            self.decoder_mlp_dim,
            self.iou_hidden,
            self.decoder_epsilon,
            **types,
        )

    def encode_image(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps the normalised image (B, S, S, 3) to its embedding (B, S / 16, S / 16, D)."""
        return self.image_encoder(image, train)

    def encode_prompts(
        self,
        points: jax.Array | None = None,
        labels: jax.Array | None = None,
        boxes: jax.Array | None = None,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the sparse (B, K, D) and the dense prompt (B, S / 16, S / 16, D).

        Arguments and errors are those of `prompts.encode_prompts`.
        """
        grid = self.image_size // self.patch_size
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
        self, embedding: jax.Array, sparse: jax.Array, dense: jax.Array
    ) -> dict[str, jax.Array]:
        """Makes masks; see `MaskDecoder` for shapes.

        Mask 0 is for unambiguous prompts, masks 1 to 3 are three readings of an ambiguous one.
        """
        places = self.positions.grid(*embedding.shape[1:3])
        return self.mask_decoder(embedding, places, sparse, dense)

    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        """Segments what is at the centre of the image; a first run makes all parameters by it."""
        batch, side = len(image), self.image_size
        points = jnp.full((batch, 1, 2), side / 2)
        labels = jnp.ones((batch, 1), jnp.int32)
        mask = jnp.zeros((batch, *(4 * side // self.patch_size,) * 2, 1), self.dtype)
        return self.decode(
            self.encode_image(image), *self.encode_prompts(points, labels, None, mask)
        )
