"""What DiCoR does to the joint map of all scales: self-attention (VMSF), and words too (LVMSF)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.contract import Tree
from rrsis_jax.models.layers.initializers import transformer_init
from rrsis_jax.models.layers.mlp import Mlp
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.models.layers.transformer import attend
from rrsis_jax.types import Dtype, LayerTypes

NUM_HEADS = 8
MLP_RATIO = 4
_start = nn.initializers.xavier_uniform()  # of projections that are no layers of their own


class SelfAttention(nn.Module):
    """Multi-head attention of positions over each other; query, key and value are one projection.

    Attributes:
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, P, C) to the same shape."""
        width = x.shape[-1]
        kernel = self.param("in_kernel", _start, (width, 3 * width), self.param_dtype)
        bias = self.param("in_bias", nn.initializers.zeros, (3 * width,), self.param_dtype)
        joined = x.astype(self.dtype) @ kernel.astype(self.dtype)
        joined += bias.astype(self.dtype).reshape(1, 1, -1)
        query, key, value = jnp.split(joined, 3, axis=-1)
        attended = attend(query, key, value, NUM_HEADS)
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(width, kernel_init=transformer_init, name="out", **types)(attended)


class CrossAttention(nn.Module):
    """Multi-head attention over tokens of another width.

    Attributes:
      dtype: compute type; logits and softmax are float32 or wider.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, context: jax.Array, mask: jax.Array | None = None
    ) -> jax.Array:
        """Maps (B, P, C), looking at (B, K, D), of which `mask` (B, K), to (B, P, C)."""
        width = x.shape[-1]
        bias = self.param("in_bias", nn.initializers.zeros, (3 * width,), self.param_dtype)

        def project(name: str, tokens: jax.Array, bias: jax.Array) -> jax.Array:
            kernel = self.param(name, _start, (tokens.shape[-1], width), self.param_dtype)
            projected = tokens.astype(self.dtype) @ kernel.astype(self.dtype)
            return projected + bias.astype(self.dtype).reshape(1, 1, -1)

        biases = jnp.split(bias, 3)
        query = project("query_kernel", x, biases[0])
        key, value = (
            project(name, context, own)
            for name, own in zip(("key_kernel", "value_kernel"), biases[1:], strict=True)
        )
        attended = attend(query, key, value, NUM_HEADS, mask)
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        return nn.Dense(width, kernel_init=transformer_init, name="out", **types)(attended)


class ScaleBlock(nn.Module):
    """Self-attention and MLP, each pre-normalised and with a residual.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, P, C) to the same shape."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = SelfAttention(name="attention", **types)
        x = x + attention(LayerNorm(name="norm1", **types)(x))
        mlp = Mlp(MLP_RATIO * x.shape[-1], name="mlp", **types)
        return x + mlp(LayerNorm(name="norm2", **types)(x))


class ScaleMixer(nn.Module):
    """Blocks in which the positions of the joint map look at each other (VMSF).

    Attributes:
      depth: blocks.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    depth: int = 3
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Tree, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to the same shape; neither text nor training change anything."""
        del text, train
        positions = x.reshape(x.shape[0], -1, x.shape[-1])
        for index in range(self.depth):
            positions = ScaleBlock(self.dtype, self.param_dtype, name=f"blocks_{index}")(positions)
        return positions.reshape(x.shape)


class WordScaleBlock(nn.Module):
    """Words look at the map, the map looks at the words, then at itself.

    The first two are post-normalised. All N word positions look at the map, padding too.

    Attributes:
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, words: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Maps positions (B, P, C) and words (B, N, D), of which `mask` is real, to the same."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}

        def changed(name: str, x: jax.Array, attended: jax.Array) -> jax.Array:
            x = LayerNorm(name=f"{name}_norm1", **types)(x + attended)
            mlp = Mlp(MLP_RATIO * x.shape[-1], name=f"{name}_mlp", **types)
            return LayerNorm(name=f"{name}_norm2", **types)(x + mlp(x))

        words = changed("words", words, CrossAttention(name="words_attention", **types)(words, x))
        attention = CrossAttention(name="image_attention", **types)
        x = changed("image", x, attention(x, words, mask))
        return ScaleBlock(name="scales", **types)(x), words


class WordScaleMixer(nn.Module):
    """Blocks in which words and the joint map change each other (LVMSF).

    The words that leave the last block are used nowhere.

    Attributes:
      depth: blocks.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    depth: int = 3
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, text: Tree, train: bool) -> jax.Array:
        """Maps (B, H, W, C), with "features" and "mask" of the text, to the same shape."""
        del train
        positions, words = x.reshape(x.shape[0], -1, x.shape[-1]), text["features"]
        for index in range(self.depth):
            block = WordScaleBlock(self.dtype, self.param_dtype, name=f"blocks_{index}")
            positions, words = block(positions, words, text["mask"])
        return positions.reshape(x.shape)
