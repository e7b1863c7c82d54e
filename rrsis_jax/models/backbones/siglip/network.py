"""SigLIP's image and text towers, and what compares the two.

SigLIP 2 at a fixed resolution is the same network with another vocabulary.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.adapters import Dense, Lora
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.transformer import (
    Attention,
    FeedForward,
    LayerNorm,
    PackedAttention,
    product,
    run_layers,
)
from rrsis_jax.types import Dtype, LayerTypes

tanh_gelu = functools.partial(nn.gelu, approximate=True)
LayerNorm6 = functools.partial(LayerNorm, epsilon=1e-6)


class SiglipLayer(nn.Module):
    """Attention and feed-forward, each pre-normalised and with a residual.

    Attributes:
      num_heads: attention heads.
      mlp_dim: inner width of the feed-forward layer.
      lora: see `Lora`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    mlp_dim: int
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        """Maps (B, N, C) to the same shape; only tokens of `mask` (B, N) are attended to."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = Attention(self.num_heads, lora=self.lora, name="self_attn", **types)
        normal = LayerNorm6(name="norm1", **types)(x)
        x = x + attention(normal, normal, normal, mask, train)
        mlp = FeedForward(self.mlp_dim, tanh_gelu, self.lora, name="mlp", **types)
        return x + mlp(LayerNorm6(name="norm2", **types)(x), train)


class VisionTower(nn.Module):
    """SigLIP's image encoder.

    Attributes:
      width: channels C.
      mlp_dim: inner width of the feed-forward layers.
      depth: number of layers.
      num_heads: attention heads.
      image_size: side of the image that the position table was made for.
      patch_size: side of a patch.
      lora: see `Lora`.
      remat: whether layers are recomputed in the backward pass.
      scan: whether layers are compiled once and run in a loop.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    width: int
    mlp_dim: int
    depth: int
    num_heads: int
    image_size: int
    patch_size: int
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Encodes images; of another size than `image_size`, the position table is resized.

        Args:
          image: (B, H, W, 3), normalised. Pixels beyond the last whole patch are not seen.
          train: whether dropout of adapters acts.

        Returns:
          Features (B, patches, C), row by row, and the pooled vector (B, C).
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        patch, side = (self.patch_size, self.patch_size), self.image_size // self.patch_size
        x = nn.Conv(self.width, patch, patch, "VALID", name="patch_embed", **types)(image)
        table = self.param("pos_embed", transformer_init, (side**2, self.width), self.param_dtype)
        table = table.reshape(1, side, side, self.width)
        x = x + interpolation.resize(table, *x.shape[1:3], "cubic").astype(x.dtype)
        x = x.reshape(x.shape[0], -1, self.width)
        fields = [
            {
                "name": f"layers_{index}",
                "num_heads": self.num_heads,
                "mlp_dim": self.mlp_dim,
                "lora": self.lora,
                **types,
            }
            for index in range(self.depth)
        ]
        x = run_layers(self, SiglipLayer, fields, x, None, train, remat=self.remat, scan=self.scan)
        x = LayerNorm6(name="post_norm", **types)(x)
        return x, AttentionPool(self.num_heads, self.mlp_dim, self.lora, name="head", **types)(
            x, train
        )


class AttentionPool(nn.Module):
    """A learned probe attends over all features.

    Attributes:
      num_heads: attention heads.
      mlp_dim: inner width of the feed-forward layer.
      lora: see `Lora`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    mlp_dim: int
    lora: Lora | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, N, C) to (B, C)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        batch, _, width = x.shape
        probe = self.param("probe", transformer_init, (1, 1, width), self.param_dtype)
        probe = jnp.broadcast_to(probe.astype(x.dtype), (batch, 1, width))
        attended = PackedAttention(self.num_heads, self.lora, name="attention", **types)(
            probe, x, x, train=train
        )
        mlp = FeedForward(self.mlp_dim, tanh_gelu, self.lora, name="mlp", **types)
        return (attended + mlp(LayerNorm6(name="norm", **types)(attended), train))[:, 0]


class TextTower(nn.Module):
    """SigLIP's text encoder.

    Attributes:
      width: channels C.
      mlp_dim: inner width of the feed-forward layers.
      depth: number of layers.
      num_heads: attention heads.
      vocab_size: rows of the token table.
      text_positions: rows of the position table, the most tokens of a text.
      lora: see `Lora`.
      remat: whether layers are recomputed in the backward pass.
      scan: whether layers are compiled once and run in a loop.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    width: int
    mlp_dim: int
    depth: int
    num_heads: int
    vocab_size: int
    text_positions: int
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, input_ids: jax.Array, mask: jax.Array | None = None, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Encodes texts.

        Args:
          input_ids: int (B, N).
          mask: (B, N), 1 on real tokens, which come first: padding is not attended to, and the
            last real token is pooled, as if the text stood alone. None as published: padding counts
            as a token, and the last position is pooled whatever it holds.
          train: whether dropout of adapters acts.

        Returns:
          Features (B, N, C) and the pooled vector (B, C).

        Raises:
          ValueError: if the text has more tokens than there are positions.
        """
        length = input_ids.shape[1]
        if length > self.text_positions:
            raise ValueError(
                f"SigLIP's text tower got {length} tokens; expected at most "
                f"{self.text_positions}, the rows of its position table. Cut the text."
            )
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def table(name: str, rows: int) -> jax.Array:
            return self.param(name, transformer_init, (rows, self.width), self.param_dtype)

        x = table("token_embed", self.vocab_size)[input_ids].astype(self.dtype)
        x = x + table("pos_embed", self.text_positions)[None, :length].astype(x.dtype)
        fields = [
            {
                "name": f"layers_{index}",
                "num_heads": self.num_heads,
                "mlp_dim": self.mlp_dim,
                "lora": self.lora,
                **types,
            }
            for index in range(self.depth)
        ]
        x = run_layers(self, SiglipLayer, fields, x, mask, train, remat=self.remat, scan=self.scan)
        x = LayerNorm6(name="final_norm", **types)(x)
        last = x[:, -1]
        if mask is not None:
            position = jnp.sum(mask != 0, axis=1) - 1
            last = jnp.take_along_axis(x, position[:, None, None], axis=1)[:, 0]
        head = Dense(self.width, lora=self.lora, kernel_init=transformer_init, name="head", **types)
        return x, head(last, train)


class Siglip(nn.Module):
    """Both towers and the two scalars of their similarity.

    Attributes:
      width: see the towers.
      mlp_dim: see there.
      depth: see there.
      num_heads: see there.
      image_size: see `VisionTower`.
      patch_size: see there.
      vocab_size: see `TextTower`.
      text_positions: see there.
      lora: see `Lora`.
      remat: see the towers.
      scan: see there.
      dtype: compute type; similarities are float32 or wider.
      param_dtype: type of the parameters.
    """

    width: int
    mlp_dim: int
    depth: int
    num_heads: int
    image_size: int
    patch_size: int
    vocab_size: int
    text_positions: int = 64
    lora: Lora | None = None
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def setup(self) -> None:
        """Makes the towers and the scalars."""
        shared = ("width", "mlp_dim", "depth", "num_heads", "lora", "remat", "scan")
        shared = {name: getattr(self, name) for name in (*shared, "dtype", "param_dtype")}
        self.vision = VisionTower(image_size=self.image_size, patch_size=self.patch_size, **shared)
        self.text = TextTower(
            vocab_size=self.vocab_size, text_positions=self.text_positions, **shared
        )
        # Where SigLIP's training starts: log 10 and −10 (section 3.2).
        self.logit_scale = self.param(
            "logit_scale", nn.initializers.constant(jnp.log(10.0)), (1,), self.param_dtype
        )
        self.logit_bias = self.param(
            "logit_bias", nn.initializers.constant(-10.0), (1,), self.param_dtype
        )

    def encode_image(self, image: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns features and pooled vector of images, see `VisionTower`."""
        return self.vision(image, train)

    def encode_text(
        self, input_ids: jax.Array, mask: jax.Array | None = None, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns features and pooled vector of texts, see `TextTower`."""
        return self.text(input_ids, mask, train)

    def similarity(self, image: jax.Array, text: jax.Array) -> jax.Array:
        """Compares pooled images (B, C) with pooled texts (T, C).

        Returns:
          Log-odds (B, T) that they belong together: exp(logit_scale) · cosine + logit_bias.
        """
        image, text = (
            x / jnp.linalg.norm(x, axis=-1, keepdims=True)
            for x in map(at_least_float32, (image, text))
        )
        cosine = product("bc,tc->bt", image, text)
        scale, bias = (x.reshape(1, 1) for x in (self.logit_scale, self.logit_bias))
        return jnp.exp(scale) * cosine + bias

    def __call__(self, image: jax.Array, input_ids: jax.Array) -> jax.Array:
        """Returns `similarity` of images (B, H, W, 3) and texts (T, N), as (B, T)."""
        return self.similarity(self.encode_image(image)[1], self.encode_text(input_ids)[1])
