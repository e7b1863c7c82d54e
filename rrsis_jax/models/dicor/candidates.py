"""Places that a map of evidence offers: the highest peaks, far enough from each other.

The search is a loop of fixed length, so it compiles once, whatever the map holds.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from rrsis_jax.models.layers.precision import wide_type

COUNT = 5
LEAST_PEAK = 0.05
PEAK_TOLERANCE = 1e-12
REACH = 2  # a peak so near a chosen one is none any more
DEVIATION = 1.5  # of the bell around a peak, in positions
LEAST_MASS = 1e-8
LEAST_VARIANCE = 1e-12


@flax.struct.dataclass
class Candidates:
    """K places on a map of h×w positions.

    Attributes:
      maps: (B, K, h, w), how much each position belongs to the place; sums to 1, or is 0.
      centers: (B, K, 2), row and column of the peak.
      valid: bool (B, K), False where the map had fewer peaks.
      peaks: (B, K), the map's value at the peak.
      masses: (B, K), sum of the bell before it was divided by it.
    """

    maps: jax.Array
    centers: jax.Array
    valid: jax.Array
    peaks: jax.Array
    masses: jax.Array


def find(prior: jax.Array) -> Candidates:
    """Returns the highest peaks of maps of probabilities.

    Args:
      prior: (B, h, w), from 0 to 1, float32 or wider; no gradient passes through the search, one
        through the maps does.
    """
    batch, height, width = prior.shape
    rows, columns = (x.ravel().astype(np.int32) for x in np.indices((height, width)))
    flat = prior.reshape(batch, height * width)

    def chosen(remaining: jax.Array, _: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        place = jnp.argmax(jnp.where(remaining, flat, -1.0), axis=1)  # the first of equal ones
        valid = jnp.any(remaining, axis=1)
        distance = jnp.square(rows[None] - (place // width)[:, None]) + jnp.square(
            columns[None] - (place % width)[:, None]
        )
        return remaining & (distance > REACH**2), (place, valid, distance)

    _, (places, valid, distances) = jax.lax.scan(chosen, _peaks(prior), length=COUNT)
    places, valid, distances = (jnp.moveaxis(x, 0, 1) for x in (places, valid, distances))
    distances = distances.astype(prior.dtype)
    bells = flat[:, None] * jnp.exp(-distances / (2 * DEVIATION**2))
    masses = jnp.sum(bells, axis=-1) * valid
    valid &= masses > LEAST_MASS
    maps = bells / jnp.where(valid, masses, 1.0)[..., None] * valid[..., None]
    centers = jnp.stack([places // width, places % width], axis=-1) * valid[..., None]
    return Candidates(
        maps=maps.reshape(batch, COUNT, height, width),
        centers=centers.astype(prior.dtype),
        valid=valid,
        peaks=jnp.take_along_axis(flat, places, axis=1) * valid,
        masses=masses,
    )


def _peaks(prior: jax.Array) -> jax.Array:
    """Returns bool (B, h·w): the greatest of their neighbours; all where a map has no such one."""
    still = jax.lax.stop_gradient(prior)
    nearby = jax.lax.reduce_window(still, -jnp.inf, jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME")
    peaks = (still >= nearby - PEAK_TOLERANCE) & (still >= LEAST_PEAK)
    peaks = peaks.reshape(prior.shape[0], prior.shape[1] * prior.shape[2])
    return peaks | ~jnp.any(peaks, axis=1, keepdims=True)


def geometry(candidates: Candidates) -> jax.Array:
    """Returns (B, K, 5): peak x and y, effective area, deviation in x and y; 0 if not valid.

    Places and deviations are in units in which the map reaches from −1 to 1, deviations those from
    the mean place; the area is a share of the map.
    """
    maps = candidates.maps
    height, width = maps.shape[-2:]
    wide = wide_type(maps.dtype)
    y, x = (
        jnp.asarray(np.linspace(-1.0, 1.0, size) if size > 1 else [0.0], wide)
        for size in (height, width)
    )
    along_y, along_x = jnp.sum(maps, axis=3), jnp.sum(maps, axis=2)
    mean_y, mean_x = along_y @ y, along_x @ x
    varied = [
        jnp.sum(weights * jnp.square(places.reshape(1, 1, -1) - mean[..., None]), axis=-1)
        for weights, places, mean in ((along_x, x, mean_x), (along_y, y, mean_y))
    ]
    deviation_x, deviation_y = (jnp.sqrt(jnp.maximum(v, LEAST_VARIANCE)) for v in varied)
    spread = jnp.sum(jnp.square(maps), axis=(2, 3))
    area = 1.0 / jnp.where(candidates.valid, spread, 1.0) / (height * width)
    peak_y, peak_x = (
        2.0 * candidates.centers[..., axis] / max(size - 1, 1) - float(size > 1)
        for axis, size in enumerate((height, width))
    )
    numbers = jnp.stack([peak_x, peak_y, area, deviation_x, deviation_y], axis=-1)
    return numbers * candidates.valid[..., None]
