"""The mask decoder of SAM and SAM 2: two-way attention, upscaling, one small MLP a mask."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.transformer import Attention, FeedForward, LayerNorm, product
from rrsis_jax.types import Dtype, LayerTypes

NUM_MASKS = 4  # one for unambiguous prompts, then three for the whole, a part, a part of the part


class ReluMlp(nn.Module):
    """Three linear layers with ReLU between them.

    Attributes:
      hidden: width of the inner layers.
      features: width of the result.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    hidden: int
    features: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (..., C) to (..., features)."""
        dense = functools.partial(
            nn.Dense, kernel_init=uniform_init, dtype=self.dtype, param_dtype=self.param_dtype
        )
        x = nn.relu(dense(self.hidden, name="fc1")(x))
        x = nn.relu(dense(self.hidden, name="fc2")(x))
        return dense(self.features, name="fc3")(x)


class TwoWayLayer(nn.Module):
    """Tokens attend to each other and to the image, then the image to the tokens.

    Attributes:
      num_heads: attention heads.
      mlp_dim: inner width of the tokens' feed-forward layer.
      first: whether this is the first layer: its self-attention sees no positions and replaces
        the tokens, where later ones add to them.
      epsilon: of the norms.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    num_heads: int
    mlp_dim: int
    first: bool
    epsilon: float
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: jax.Array, image: jax.Array, token_places: jax.Array, places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Updates both sides.

        Args:
          tokens: (B, T, D).
          image: (B, h · w, D).
          token_places: positions of the tokens (B, T, D).
          places: positions of the image (1, h · w, D).

        Returns:
          Tokens and image of the shapes they came in.
        """
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        attention = functools.partial(Attention, self.num_heads, kernel_init=uniform_init, **types)
        cross = functools.partial(attention, tokens.shape[-1] // 2)
        norm = functools.partial(LayerNorm, epsilon=self.epsilon, **types)
        attend = attention(name="self_attn")
        if self.first:
            tokens = attend(tokens, tokens, tokens)
        else:
            placed = tokens + token_places
            tokens = tokens + attend(placed, placed, tokens)
        tokens = norm(name="norm1")(tokens)
        attend = cross(name="token_to_image")
        tokens = tokens + attend(tokens + token_places, image + places, image)
        tokens = norm(name="norm2")(tokens)
        mlp = FeedForward(self.mlp_dim, nn.relu, kernel_init=uniform_init, name="mlp", **types)
        tokens = norm(name="norm3")(tokens + mlp(tokens))
        attend = cross(name="image_to_token")
        image = image + attend(image + places, tokens + token_places, tokens)
        return tokens, norm(name="norm4")(image)


class DoubleSize(nn.Module):
    """Transposed convolution of kernel and stride 2: each pixel becomes four, none overlap.

    Attributes:
      features: output channels.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (B, H, W, C) to (B, 2H, 2W, features)."""
        batch, height, width, channels = x.shape
        shape = (2, 2, channels, self.features)
        kernel = self.param("kernel", uniform_init, shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = jnp.einsum("bhwc,ijcf->bhiwjf", x, kernel)
        return x.reshape(batch, 2 * height, 2 * width, self.features) + bias[None, None, None]


class MaskDecoder(nn.Module):
    """Makes masks of an image's embedding and of prompts.

    Attributes:
      num_heads: attention heads.
      mlp_dim: inner width of the two-way layers' feed-forward.
      iou_hidden: inner width of the head that guesses each mask's IoU.
      epsilon: of the two-way layers' norms; the final one has 1e-5.
      high_resolution: whether maps of strides 4 and 8 come too, and an object score goes out, as
        in SAM 2.
      dtype: compute type; masks and scores are float32 or wider.
      param_dtype: type of the parameters.
    """

    num_heads: int = 8
    mlp_dim: int = 2048
    iou_hidden: int = 256
    epsilon: float = 1e-5
    high_resolution: bool = False
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        embedding: jax.Array,
        places: jax.Array,
        sparse: jax.Array,
        dense: jax.Array,
        stride8: jax.Array | None = None,
        stride4: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Decodes.

        Args:
          embedding: of the image, (B, h, w, D).
          places: its positions, (1, h, w, D).
          sparse: prompts (B, K, D).
          dense: prompt (B, h, w, D).
          stride8: map (B, 2h, 2w, D / 4), only of SAM 2.
          stride4: map (B, 4h, 4w, D / 8), only of SAM 2.

        Returns:
          "masks" (B, 4h, 4w, 4), logits; "iou" (B, 4), the guess of each mask's IoU; and of SAM 2
          "object_score" (B, 1), the log-odds that there is an object.
        """
        finer = [map_ for map_ in (stride8, stride4) if map_ is not None]
        if len(finer) != 2 * self.high_resolution:
            raise ValueError(
                f"SAM's mask decoder got {len(finer)} finer maps; expected those of strides 8 and "
                "4 with `high_resolution`, and none without."
            )
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        batch, height, width, features = embedding.shape
        image = (embedding + dense).reshape(batch, -1, features).astype(self.dtype)
        places = places.reshape(1, -1, features).astype(self.dtype)
        tokens = self._tokens(sparse)
        tokens, image = self._attend(tokens, image, places)

        map_ = image.reshape(batch, height, width, features)
        upscaled = DoubleSize(features // 4, name="upscale1", **types)(map_)
        if self.high_resolution:
            upscaled = upscaled + finer[0]
        upscaled = LayerNorm(epsilon=1e-6, name="upscale_norm", **types)(upscaled)
        upscaled = DoubleSize(features // 8, name="upscale2", **types)(exact_gelu(upscaled))
        if self.high_resolution:
            upscaled = upscaled + finer[1]
        upscaled = exact_gelu(upscaled)

        start = int(self.high_resolution)
        weights = [
            ReluMlp(features, features // 8, name=f"hypernetworks_{i}", **types)(
                tokens[:, start + 1 + i]
            )
            for i in range(NUM_MASKS)
        ]
        iou = ReluMlp(self.iou_hidden, NUM_MASKS, name="iou_head", **types)(tokens[:, start])
        iou = iou.astype(jnp.promote_types(iou.dtype, jnp.float32))
        outputs = {
            "masks": product("bhwc,bmc->bhwm", upscaled, jnp.stack(weights, axis=1)),
            "iou": iou,
        }
        if self.high_resolution:
            score = ReluMlp(features, 1, name="object_head", **types)(tokens[:, 0])
            outputs["iou"] = nn.sigmoid(iou)
            outputs["object_score"] = score.astype(iou.dtype)
        return outputs

    def _tokens(self, sparse: jax.Array) -> jax.Array:
        """Returns [object score,] IoU, masks, prompts: (B, 5 or 6 + K, D)."""
        batch, _, features = sparse.shape
        names = {"iou_token": 1, "mask_tokens": NUM_MASKS}
        if self.high_resolution:
            names = {"object_token": 1, **names}
        learned = [
            self.param(name, nn.initializers.normal(1.0), (rows, features), self.param_dtype)
            for name, rows in names.items()
        ]
        learned = jnp.concatenate(learned)[None].astype(self.dtype)
        learned = jnp.broadcast_to(learned, (batch, *learned.shape[1:]))
        return jnp.concatenate([learned, sparse.astype(self.dtype)], axis=1)

    def _attend(
        self, tokens: jax.Array, image: jax.Array, places: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        token_places = tokens
        for index in range(2):
            tokens, image = TwoWayLayer(
                self.num_heads,
                self.mlp_dim,
                first=index == 0,
                epsilon=self.epsilon,
                name=f"layers_{index}",
                **types,
            )(tokens, image, token_places, places)
        attention = Attention(
            self.num_heads,
            tokens.shape[-1] // 2,
            kernel_init=uniform_init,
            name="final_attn",
            **types,
        )
        tokens = tokens + attention(tokens + token_places, image + places, image)
        return LayerNorm(epsilon=1e-5, name="final_norm", **types)(tokens), image
