"""The cascaded prompter: text queries look for the object, then for its extent, then for prompts.

Attention and feed-forward layers add their input, and a norm follows that replaces it (post-norm
without pre-norm). Positions are added to queries and keys, never to values.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from rrsis_jax.models.layers import interpolation
from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.normalization import BatchNorm
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.transformer import Attention, FeedForward, LayerNorm
from rrsis_jax.types import Dtype, LayerTypes

_table_init = nn.initializers.normal(1.0)  # of learned positions and prompts


class Refine(nn.Module):
    """Attention to a source, and then a feed-forward layer if it has a width.

    Attributes:
      num_heads: attention heads.
      inner: width of queries, keys and values.
      mlp_dim: inner width of the feed-forward layer; 0 for none.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    inner: int
    mlp_dim: int = 0
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        places: jax.Array,
        source: jax.Array,
        source_places: jax.Array | None,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Updates `x`.

        Args:
          x: (B, Q, C).
          places: its positions (1, Q, C).
          source: (B, K, D); `x` itself for self-attention.
          source_places: its positions (1, K, D); None for none.
          mask: (B, K), nonzero on what is looked at; None for all.

        Returns:
          Array of the shape of `x`.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = functools.partial(LayerNorm, epsilon=1e-5, **types)
        keys = source if source_places is None else source + source_places
        attention = Attention(
            self.num_heads, self.inner, kernel_init=uniform_init, name="attn", **types
        )
        x = norm(name="norm")(x + attention(x + places, keys, source, mask))
        if self.mlp_dim:
            mlp = FeedForward(self.mlp_dim, kernel_init=uniform_init, name="mlp", **types)
            x = norm(name="mlp_norm")(x + mlp(x))
        return x


def pool_words(features: jax.Array, mask: jax.Array, bins: int) -> jax.Array:
    """Averages the words of each phrase in bins, as adaptive average pooling of its own length.

    Args:
      features: (B, N, C).
      mask: (B, N), 1 on the real tokens, which come first.
      bins: bin i averages the words from floor(i · n / bins) to ceil((i + 1) · n / bins).

    Returns:
      Array (B, bins, C) of the type of `features`.
    """
    length = jnp.sum(mask != 0, axis=1)[:, None]
    index = jnp.arange(bins)[None]
    start, end = index * length // bins, -(-(index + 1) * length // bins)
    word = jnp.arange(features.shape[1])[None, None]
    inside = (word >= start[..., None]) & (word < end[..., None])
    wide = at_least_float32(features)
    weights = inside / (end - start)[..., None].astype(wide.dtype)
    return jnp.einsum("bqn,bnc->bqc", weights, wide).astype(features.dtype)


class Prompter(nn.Module):
    """Makes sparse prompts and a dense one of SigLIP's features.

    Attributes:
      grid: side of the position table of the image's map.
      prompt_dim: width D of the sparse prompts.
      num_text_queries: queries that the words are pooled to.
      num_prompts: sparse prompts.
      num_heads: attention heads.
      inner: width of queries, keys and values.
      mlp_dim: inner width of feed-forward layers.
      depth: layers of each of the three stages.
      axis_name: mapped axis over which batch statistics are synchronised; None for none.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    grid: int = 32
    prompt_dim: int = 256
    num_text_queries: int = 3
    num_prompts: int = 9
    num_heads: int = 8
    inner: int = 512
    mlp_dim: int = 512
    depth: int = 2
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, text: jax.Array, mask: jax.Array, train: bool
    ) -> dict[str, jax.Array]:
        """Makes the prompts.

        Args:
          image: SigLIP's map (B, h, w, C).
          text: SigLIP's words (B, N, C).
          mask: (B, N), 1 on real tokens.
          train: whether batch statistics are updated.

        Returns:
          "sparse" (B, prompts, D); "dense" (B, h, w, C), to be compared with the pooled text; and
          "text_queries1", "text_queries2" (B, queries, C) of the first stage.
        """
        batch, height, width, channels = image.shape
        places = self._places(channels)
        image_places = self._image_places(height, width, channels)
        pooled = pool_words(text, mask, self.num_text_queries)
        first, second = self._meet_words(pooled, text, mask, places)
        map_, _ = self._find(image.reshape(batch, -1, channels), first, places[0], image_places)
        map_, prompts = self._outline(map_, second, places[1], image_places)
        sparse = self._two_layers(prompts)
        return {
            "sparse": sparse,
            "dense": self._dense(map_.reshape(image.shape), train),
            "text_queries1": first,
            "text_queries2": second,
        }

    def _table(self, name: str, rows: int, width: int) -> jax.Array:
        table = self.param(name, _table_init, (rows, width), self.param_dtype)
        return table[None].astype(self.dtype)

    def _places(self, channels: int) -> tuple[jax.Array, jax.Array]:
        first, second = (
            self._table(f"text_places{number}", self.num_text_queries, channels)
            for number in (1, 2)
        )
        return first, second

    def _image_places(self, height: int, width: int, channels: int) -> jax.Array:
        """Returns (1, h · w, C): the learned table, resized with aligned corners."""
        shape = (1, self.grid, self.grid, channels)
        table = self.param("image_places", _table_init, shape, self.param_dtype)
        table = interpolation.resize(table, height, width, "cubic", aligned=True)
        return table.reshape(1, -1, channels).astype(self.dtype)

    def _refine(
        self,
        name: str,
        x: jax.Array,
        places: jax.Array,
        source: jax.Array,
        *source_places_and_mask: jax.Array | None,
        mlp: bool = True,
    ) -> jax.Array:
        refine = Refine(
            self.num_heads,
            self.inner,
            self.mlp_dim if mlp else 0,
            self.dtype,
            self.param_dtype,
            name=name,
        )
        return refine(x, places, source, *source_places_and_mask)

    def _meet_words(
        self,
        queries: jax.Array,
        text: jax.Array,
        mask: jax.Array,
        places: tuple[jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array]:
        """First stage: two sets of queries read the words, and each other."""
        first = second = queries
        places1, places2 = places
        for index in range(self.depth):
            step = f"words_{index}_"
            first = self._refine(f"{step}self1", first, places1, first, places1, mlp=False)
            second = self._refine(f"{step}self2", second, places2, second, places2, mlp=False)
            first = self._refine(f"{step}text1", first, places1, text, None, mask)
            second = self._refine(f"{step}text2", second, places2, text, None, mask)
            first = self._refine(f"{step}cross1", first, places1, second, places2)
            second = self._refine(f"{step}cross2", second, places2, first, places1)
        return first, second

    def _find(
        self, map_: jax.Array, queries: jax.Array, places: jax.Array, image_places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Second stage: the map reads the first queries."""
        for index in range(self.depth):
            step = f"find_{index}_"
            queries = self._refine(f"{step}self", queries, places, queries, places, mlp=False)
            map_ = self._refine(f"{step}image", map_, image_places, queries, places)
        return map_, queries

    def _outline(
        self, map_: jax.Array, queries: jax.Array, places: jax.Array, image_places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Third stage: the map reads the second queries, prompts read both."""
        table, prompt_places = (
            self._table(name, self.num_prompts, self.prompt_dim)
            for name in ("prompts", "prompt_places")
        )
        prompts = jnp.broadcast_to(table, (map_.shape[0], *table.shape[1:]))
        for index in range(self.depth):
            step = f"outline_{index}_"
            queries = self._refine(f"{step}self", queries, places, queries, places, mlp=False)
            map_ = self._refine(f"{step}image", map_, image_places, queries, places)
            prompts = self._refine(
                f"{step}prompts", prompts, prompt_places, prompts, prompt_places, mlp=False
            )
            prompts = self._refine(f"{step}prompts_text", prompts, prompt_places, queries, places)
            prompts = self._refine(
                f"{step}prompts_image", prompts, prompt_places, map_, image_places
            )
        return map_, prompts

    def _two_layers(self, prompts: jax.Array) -> jax.Array:
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        mlp = FeedForward(self.mlp_dim, kernel_init=uniform_init, name="sparse_mlp", **types)
        return mlp(prompts)

    def _dense(self, map_: jax.Array, train: bool) -> jax.Array:
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv = functools.partial(
            nn.Conv, kernel_size=(3, 3), padding="SAME", kernel_init=uniform_init, **types
        )
        channels = map_.shape[-1]
        x = conv(channels // 2, name="dense_conv1")(map_)
        x = BatchNorm(axis_name=self.axis_name, name="dense_bn", **types)(x, train)
        return conv(channels, name="dense_conv2")(exact_gelu(x))
