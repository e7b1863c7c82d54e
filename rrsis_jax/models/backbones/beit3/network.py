"""BEiT-3: one attention over image and text, all else once for each of the two."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.backbones.beit3.config import FIRST_POSITION
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.transformer import LayerNorm, attend, run_layers
from rrsis_jax.types import Dtype, LayerTypes

Pair = tuple[jax.Array, jax.Array]
LayerNorm5 = functools.partial(LayerNorm, epsilon=1e-5)


class Experts(nn.Module):
    """Two layers of one kind: one for the image's tokens, one for the text's.

    Attributes:
      layer: makes a layer of a name.
    """

    layer: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, pair: Pair) -> Pair:
        """Maps image tokens (B, M, C) and text tokens (B, N, C), each by its own layer."""
        image, text = pair
        return self.layer(name="image")(image), self.layer(name="text")(text)


class ExpertMlp(nn.Module):
    """Feed-forward layer with a norm before its second half.

    Attributes:
      hidden: width of the inner layer.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, N, C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        dense = functools.partial(nn.Dense, kernel_init=transformer_init, **types)
        inner = LayerNorm5(name="norm", **types)(exact_gelu(dense(self.hidden, name="fc1")(x)))
        return dense(x.shape[-1], name="fc2")(inner)


class Beit3Layer(nn.Module):
    """Joint attention and feed-forward, each pre-normalised and with a residual.

    Attributes:
      num_heads: attention heads.
      mlp_dim: inner width of the feed-forward layers.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    mlp_dim: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, pair: Pair, mask: jax.Array, train: bool) -> Pair:
        """Maps image (B, M, C) and text tokens (B, N, C) to the same shapes.

        Args:
          pair: both.
          mask: (B, M + N), nonzero on tokens that are attended to.
          train: see `attend_heads`; nothing else differs in training.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        width, length = pair[0].shape[-1], pair[0].shape[1]
        norm = functools.partial(LayerNorm5, **types)
        dense = functools.partial(nn.Dense, width, kernel_init=transformer_init, **types)
        normal = Experts(norm, name="attn_norm")(pair)
        query, key, value = (
            jnp.concatenate(Experts(dense, name=f"{name}_proj")(normal), axis=1)
            for name in ("q", "k", "v")
        )
        attended = attend(query, key, value, self.num_heads, mask, train)
        attended = attended[:, :length], attended[:, length:]
        attended = Experts(norm, name="attn_inner_norm")(attended)
        pair = _add(pair, Experts(dense, name="out_proj")(attended))
        mlp = functools.partial(ExpertMlp, self.mlp_dim, **types)
        return _add(pair, Experts(mlp, name="mlp")(Experts(norm, name="mlp_norm")(pair)))


def _add(pair: Pair, other: Pair) -> Pair:
    return pair[0] + other[0], pair[1] + other[1]


class Beit3(nn.Module):
    """BEiT-3 on an image and a text at once.

    Attributes:
      width: channels C.
      mlp_dim: inner width of the feed-forward layers.
      depth: number of layers.
      num_heads: attention heads.
      image_size: side of the image.
      patch_size: side of a patch.
      vocab_size: rows of the token table.
      text_positions: rows of the text's position table; its first two are not read.
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
    vocab_size: int
    text_positions: int
    remat: bool = False
    scan: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, input_ids: jax.Array, mask: jax.Array, train: bool = False
    ) -> Pair:
        """Encodes both.

        Args:
          image: (B, S, S, 3), normalised.
          input_ids: int (B, N).
          mask: (B, N), 1 on real tokens; others are not attended to.
          train: nothing here differs in training.

        Returns:
          The image's tokens (B, 1 + patches, C), of the class first, then of the patches row by
          row; and the text's (B, N, C), padding included.

        Raises:
          ValueError: if the image has another size than the position table is for, or the text
            more tokens than positions.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        side, longest = self.image_size, self.text_positions - FIRST_POSITION
        if image.shape[1:3] != (side, side):
            raise ValueError(
                f"BEiT-3 got an image of {image.shape[1]}×{image.shape[2]} pixels; expected "
                f"{side}×{side}, the size its position table was made for. Resize the image."
            )
        if input_ids.shape[1] > longest:
            raise ValueError(
                f"BEiT-3 got {input_ids.shape[1]} tokens; expected at most {longest}, the rows of "
                "its position table. Cut the text."
            )
        pair = self._embed_image(image), self._embed_text(input_ids, mask)
        seen = jnp.concatenate([jnp.ones(pair[0].shape[:2], bool), mask != 0], axis=1)
        fields = [
            {
                "name": f"layers_{index}",
                "num_heads": self.num_heads,
                "mlp_dim": self.mlp_dim,
                **types,
            }
            for index in range(self.depth)
        ]
        pair = run_layers(
            self, Beit3Layer, fields, pair, seen, train, remat=self.remat, scan=self.scan
        )
        return Experts(functools.partial(LayerNorm5, **types), name="norm")(pair)

    def _table(self, name: str, rows: int) -> jax.Array:
        return self.param(name, transformer_init, (rows, self.width), self.param_dtype)

    def _embed_image(self, image: jax.Array) -> jax.Array:
        patch = (self.patch_size, self.patch_size)
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Conv(self.width, patch, patch, "VALID", name="patch_embed", **types)(image)
        x = x.reshape(x.shape[0], -1, self.width)
        first = self.param("cls_token", transformer_init, (1, 1, self.width), self.param_dtype)
        first = jnp.broadcast_to(first.astype(x.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([first, x], axis=1)
        table = self._table("image_position_table", FIRST_POSITION + x.shape[1])
        return x + table[None, FIRST_POSITION:].astype(x.dtype)

    def _embed_text(self, input_ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Padding is zero in front of the first layer, its position included."""
        x = self._table("token_embed", self.vocab_size)[input_ids]
        last = FIRST_POSITION + input_ids.shape[1]
        x = x + self._table("text_position_table", self.text_positions)[None, FIRST_POSITION:last]
        return jnp.where(mask[..., None] != 0, x, jnp.zeros_like(x)).astype(self.dtype)
