"""Adaptive rotated convolution: a 3×3 kernel that each sample turns to fit its objects.

Source: Pu et al., ICCV 2023, as used in the decoders of RMSIN and AeroReformer.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from rrsis_jax.models.layers.grouped_convolution import GroupedConv
from rrsis_jax.models.layers.initializers import KernelAndBias, transformer_init, uniform_inits
from rrsis_jax.models.layers.normalization import LayerNorm
from rrsis_jax.models.layers.precision import at_least_float32, wide_type
from rrsis_jax.types import Dtype, LayerTypes

LARGEST_ANGLE = np.pi * 40 / 180  # radians; softsign scales it
TAPS = 9  # of a 3×3 kernel, row by row

# How a tap of the kernel turned by θ ≥ 0 is read from the taps of the kernel itself: row, tap and
# the name of a weight in `rotation`. The tap in the middle stays.
_READINGS = (
    (0, 0, "edge"), (0, 1, "rest"),
    (1, 1, "x"), (1, 2, "xy"), (1, 4, "none"), (1, 5, "y"),
    (2, 2, "edge"), (2, 5, "rest"),
    (3, 0, "xy"), (3, 1, "y"), (3, 3, "x"), (3, 4, "none"),
    (4, 4, "one"),
    (5, 4, "none"), (5, 5, "x"), (5, 7, "y"), (5, 8, "xy"),
    (6, 3, "rest"), (6, 6, "edge"),
    (7, 3, "y"), (7, 4, "none"), (7, 6, "xy"), (7, 7, "x"),
    (8, 7, "rest"), (8, 8, "edge"),
)  # fmt: skip
_WEIGHTS = ("edge", "rest", "x", "y", "xy", "none", "one")


def _reading_table() -> np.ndarray:
    """Returns (weights, 9, 9): 1 where a weight stands."""
    table = np.zeros((len(_WEIGHTS), TAPS, TAPS))
    for row, tap, weight in _READINGS:
        table[_WEIGHTS.index(weight), row, tap] = 1.0
    return table


def rotation(angle: jax.Array) -> jax.Array:
    """Returns the matrices that turn 3×3 kernels.

    A turned tap lies between four taps of the kernel and is interpolated bilinearly; one at a
    corner between the two taps of its edge. Turning by -θ is turning the transposed kernel by θ.
    At θ = 0 gradients are those of θ > 0.

    Args:
      angle: (B,), in radians, at most a quarter turn either way.

    Returns:
      (B, 9, 9): from the taps of a kernel, row by row, to those of the turned kernel.
    """
    forward = angle >= 0
    x, y = jnp.cos(angle), jnp.where(forward, jnp.sin(angle), -jnp.sin(angle))
    weights = {
        "edge": x - y,
        "rest": 1 - (x - y),
        "x": x - x * y,
        "y": y - x * y,
        "xy": x * y,
        "none": 1 - (x + y) + x * y,
        "one": jnp.ones_like(x),
    }
    stacked = jnp.stack([weights[name] for name in _WEIGHTS])
    table = _reading_table()
    transposed = np.arange(TAPS).reshape(3, 3).T.ravel()
    tables = jnp.asarray(np.stack([table, table[:, transposed][:, :, transposed]]), x.dtype)
    turn = jnp.einsum("wb,swij->sbij", stacked, tables, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(forward[:, None, None], turn[0], turn[1])


class Routing(nn.Module):
    """Reads from a map how strong a sample's kernel is and how far it turns.

    Attributes:
      dropout: rate on the pooled map, drawn apart for strength and angle.
      dtype: compute type of the map; what is pooled is float32 or wider.
      param_dtype: type of the parameters.
    """

    dropout: float = 0.2
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Maps (B, H, W, C) to strength in (0, 1) and angle in radians, (B, 1) each."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        channels = x.shape[-1]
        inits: KernelAndBias = {"kernel_init": transformer_init, "bias_init": nn.initializers.zeros}
        x = GroupedConv(
            channels, channels, use_bias=False, inits=lambda _: inits, name="depthwise", **types
        )(x)
        x = nn.relu(LayerNorm(name="norm", **types)(x))
        pooled = jnp.mean(at_least_float32(x), axis=(1, 2))

        def read(name: str, **fields: Any) -> jax.Array:
            dense = nn.Dense(
                1,
                kernel_init=transformer_init,
                dtype=wide_type(self.dtype),
                param_dtype=self.param_dtype,
                name=name,
                **fields,
            )
            return dense(nn.Dropout(self.dropout, deterministic=not train)(pooled))

        strength = nn.sigmoid(read("strength", bias_init=uniform_inits(channels)["bias_init"]))
        return strength, LARGEST_ANGLE * nn.soft_sign(read("angle", use_bias=False))


class RotatedConv(nn.Module):
    """3×3 convolution without bias whose kernel is turned and scaled for each sample.

    Attributes:
      features: output channels.
      dropout: rate of `Routing`.
      dtype: compute type.
      param_dtype: type of the parameters.
    """

    features: int
    dropout: float = 0.2
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps (B, H, W, C) to (B, H, W, features)."""
        types: LayerTypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        shape = (3, 3, x.shape[-1], self.features)
        start = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
        kernel = self.param("kernel", start, shape, self.param_dtype)
        strength, angle = Routing(self.dropout, name="routing", **types)(x, train)
        turn = rotation(angle[:, 0]) * strength[:, :, None]
        taps = at_least_float32(kernel).reshape(TAPS, *shape[2:])
        kernels = jnp.einsum("bij,jcf->bicf", turn, taps, precision=jax.lax.Precision.HIGHEST)
        return convolve_each(x.astype(self.dtype), kernels.astype(self.dtype))


@jax.custom_vjp
def convolve_each(x: jax.Array, kernels: jax.Array) -> jax.Array:
    """Convolves every sample with its own 3×3 kernel, zero-padded.

    On a CPU samples take turns: one convolution takes three quarters of the time of the nine
    products of shifted maps that it amounts to, and forward and backward together five sixths.

    Args:
      x: (B, H, W, C).
      kernels: (B, 9, C, F), taps row by row.

    Returns:
      (B, H, W, F).
    """
    return jax.lax.platform_dependent(x, kernels, cpu=_in_turns, default=convolve_by_taps)


def _convolve_each_forward(x: jax.Array, kernels: jax.Array) -> tuple[jax.Array, tuple]:
    return convolve_each(x, kernels), (x, kernels)


def _convolve_each_backward(inputs: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.platform_dependent(
        *inputs, gradient, cpu=_gradients_in_turns, default=_gradients_by_taps
    )


convolve_each.defvjp(_convolve_each_forward, _convolve_each_backward)


def convolve_by_taps(x: jax.Array, kernels: jax.Array) -> jax.Array:
    """Returns what `convolve_each` does, as a sum of nine products; see there."""
    _, height, width, _ = x.shape
    padded = _padded(x)
    output = jnp.zeros((), x.dtype)
    for tap in range(TAPS):
        row, column = divmod(tap, 3)
        shifted = padded[:, row : row + height, column : column + width]
        output += jnp.einsum("bhwc,bcf->bhwf", shifted, kernels[:, tap])
    return output


def _gradients_by_taps(
    x: jax.Array, kernels: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(convolve_by_taps, x, kernels)
    return pull(gradient)


def _in_turns(x: jax.Array, kernels: jax.Array) -> jax.Array:
    def convolve(sample: tuple[jax.Array, jax.Array]) -> jax.Array:
        single, kernel = sample
        return jax.lax.conv_general_dilated(
            single[None],
            kernel.reshape(3, 3, *kernel.shape[1:]),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]

    return jax.lax.map(convolve, (x, kernels))


def _gradients_in_turns(
    x: jax.Array, kernels: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Written out: JAX's own gradient of the loop takes five times as long."""
    padded = _padded(x)

    def of_tap(tap: jax.Array) -> jax.Array:
        shifted = jax.lax.dynamic_slice(padded, (0, tap // 3, tap % 3, 0), x.shape)
        return jnp.einsum("bhwf,bhwc->bfc", gradient, shifted)

    of_taps = jax.lax.map(of_tap, jnp.arange(TAPS))  # (9, B, F, C)
    turned = kernels[:, ::-1].swapaxes(2, 3)
    return _in_turns(gradient, turned), of_taps.transpose(1, 0, 3, 2)


def _padded(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
