"""What SAM and SAM 2 make of prompts: Fourier positions, points, boxes, masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.layers.initializers import uniform_init
from rrsis_jax.models.layers.mlp import exact_gelu
from rrsis_jax.models.layers.precision import at_least_float32
from rrsis_jax.models.layers.transformer import LayerNorm
from rrsis_jax.types import Dtype, LayerTypes

NOT_A_POINT = -1  # label of points that are only there to fill up a row
BOX_LABELS = (2, 3)  # of a box's corner above left and below right


class FourierPositions(nn.Module):
    """Random Fourier features of places in the image (Tancik et al., NeurIPS 2020).

    The matrix is drawn once and never trained: "matrix" (2, features / 2) is a parameter only so
    that it lies with the weights.

    Attributes:
      features: width of the result.
      param_dtype: type of the matrix, and of the result if it is wider than float32.
    """

    features: int
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, places: jax.Array) -> jax.Array:
        """Maps places (..., 2), x before y, both in [0, 1], to float32 or wider (..., features)."""
        matrix = self.param(
            "matrix", nn.initializers.normal(1.0), (2, self.features // 2), self.param_dtype
        )
        matrix = at_least_float32(jax.lax.stop_gradient(matrix))
        centred = 2.0 * places.astype(matrix.dtype) - 1.0
        phase = 2.0 * np.pi * jnp.matmul(centred, matrix, precision=jax.lax.Precision.HIGHEST)
        return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)

    def grid(self, height: int, width: int) -> jax.Array:
        """Returns the positions of a map's pixel centres, (1, height, width, features)."""
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        places = np.stack(np.meshgrid(columns, rows), axis=-1)[None]
        return self(jnp.asarray(places, jnp.promote_types(self.param_dtype, jnp.float32)))


class PromptEncoder(nn.Module):
    """Embeds prompts: sparse ones (points, corners of boxes) and a dense one (a mask).

    Attributes:
      features: width D of the embeddings.
      mask_channels: inner channels C of the mask's convolutions.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    mask_channels: int
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def setup(self) -> None:
        """Makes the tables and the mask's convolutions."""

        def embedding(name: str) -> jax.Array:
            return self.param(
                name, nn.initializers.normal(1.0), (1, self.features), self.param_dtype
            )

        self.labels = [embedding(f"label_{label}") for label in range(4)]
        self.not_a_point = embedding("not_a_point")
        self.no_mask = embedding("no_mask")
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = functools.partial(LayerNorm, epsilon=1e-6, **types)
        halve = functools.partial(
            nn.Conv,
            kernel_size=(2, 2),
            strides=(2, 2),
            padding="VALID",
            kernel_init=uniform_init,
            **types,
        )
        self.mask_conv1 = halve(self.mask_channels // 4)
        self.mask_norm1 = norm()
        self.mask_conv2 = halve(self.mask_channels)
        self.mask_norm2 = norm()
        self.mask_conv3 = nn.Conv(self.features, (1, 1), kernel_init=uniform_init, **types)

    def embed_points(self, positions: jax.Array, labels: jax.Array) -> jax.Array:
        """Embeds points and corners.

        Args:
          positions: (B, N, D), of `FourierPositions`.
          labels: int (B, N): 1 on the object, 0 beside it, 2 and 3 corners of a box, −1 none.

        Returns:
          Array (B, N, D).
        """
        labels = labels[..., None]
        tables = [at_least_float32(x)[None] for x in (*self.labels, self.not_a_point)]
        embedded = jnp.where(labels == NOT_A_POINT, tables[-1], positions)
        for label, table in enumerate(tables[:-1]):
            embedded = jnp.where(labels == label, embedded + table, embedded)
        return embedded.astype(self.dtype)

    def embed_mask(self, mask: jax.Array) -> jax.Array:
        """Maps mask logits (B, 4h, 4w, 1) to the dense prompt (B, h, w, D)."""
        x = exact_gelu(self.mask_norm1(self.mask_conv1(mask)))
        x = exact_gelu(self.mask_norm2(self.mask_conv2(x)))
        return self.mask_conv3(x)

    def embed_no_mask(self, batch: int, height: int, width: int) -> jax.Array:
        """Returns the dense prompt (B, height, width, D) that stands for no mask."""
        shape = (batch, height, width, self.features)
        return jnp.broadcast_to(self.no_mask[None, None], shape).astype(self.dtype)


def encode_prompts(
    positions: FourierPositions,
    encoder: PromptEncoder,
    size: int,
    grid: int,
    points: jax.Array | None,
    labels: jax.Array | None,
    boxes: jax.Array | None,
    mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Embeds all prompts of a batch of images.

    Args:
      positions: of the image.
      encoder: the prompt encoder.
      size: side of the image in pixels.
      grid: side of its embedding.
      points: (B, N, 2), x before y in pixels; None for none.
      labels: int (B, N), see `PromptEncoder.embed_points`.
      boxes: (B, 4), x and y of the corners above left and below right; None for none.
      mask: logits (B, 4 · grid, 4 · grid, 1); None for none.

    Returns:
      The sparse prompts (B, K, D) and the dense one (B, grid, grid, D). Points without a box get
      one more that is none, as the network was trained with.

    Raises:
      ValueError: if there is no prompt at all, or points come without labels.
    """
    sparse = []
    if (points is None) != (labels is None):
        raise ValueError(
            "points and labels go together, and one of them is missing; expected both, (B, N, 2) "
            "and (B, N), or neither."
        )
    if points is not None and labels is not None:
        if boxes is None:
            points = jnp.pad(points, ((0, 0), (0, 1), (0, 0)))
            labels = jnp.pad(labels, ((0, 0), (0, 1)), constant_values=NOT_A_POINT)
        sparse.append(encoder.embed_points(positions((points + 0.5) / size), labels))
    if boxes is not None:
        corners = boxes.reshape(-1, 2, 2)
        labels = jnp.broadcast_to(jnp.asarray(BOX_LABELS)[None], corners.shape[:2])
        sparse.append(encoder.embed_points(positions((corners + 0.5) / size), labels))
    prompts = [x for x in (*sparse, mask) if x is not None]
    if not prompts:
        raise ValueError("there is no prompt; expected points with labels, boxes or a mask.")
    batch = len(prompts[0])
    if not sparse:
        sparse = [jnp.zeros((batch, 0, encoder.features), encoder.dtype)]
    if mask is None:
        return jnp.concatenate(sparse, axis=1), encoder.embed_no_mask(batch, grid, grid)
    if mask.shape[1:] != (4 * grid, 4 * grid, 1):
        raise ValueError(
            f"the mask prompt came {tuple(mask.shape)}; expected (B, {4 * grid}, {4 * grid}, 1), "
            "four times the side of the image's embedding."
        )
    return jnp.concatenate(sparse, axis=1), encoder.embed_mask(mask)
