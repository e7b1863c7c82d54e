"""What the guide is trained by: evidence at the target and none far from it; the right place."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from rrsis_jax.models.dicor.candidates import Candidates
from rrsis_jax.models.layers.multi_scale import pool_to

LEAST_RADIUS = 1.0  # positions
FAR = 2.0  # radii from the target's centre
LEAST_COVER = 1e-6  # share of a position that an object covers
DISTRACTOR_SHARE = 0.5
WINNER_WEIGHT = 1.2
NEAR_ENOUGH = 2.5  # positions between a place and the target's centre
LARGEST_TARGET = 0.05  # share of the image, beyond which one place does not stand for a target

NAMES = ("near", "far", "distractors", "winner")


@flax.struct.dataclass
class Regions:
    """Where on a map of h×w positions the guide should and should not see a target.

    Attributes:
      near: bool (B, h, w), around the target's centre.
      far: bool (B, h, w), away from it and from every object that is known.
      distractors: bool (B, h, w), at like objects that are not meant.
      center: (B, 2), row and column of the target's centre, in positions.
      area: (B,), the target's share of the image.
    """

    near: jax.Array
    far: jax.Array
    distractors: jax.Array
    center: jax.Array
    area: jax.Array


def find_regions(
    target: jax.Array, size: tuple[int, int], distractors: jax.Array | None, dtype: jnp.dtype
) -> Regions:
    """Divides a map by where the target lies; a sample without target has no region at all.

    Args:
      target: (B, H, W) integers, 0 or 1.
      size: rows and columns of the map.
      distractors: (B, H', W'), nonzero where other objects lie; None where none is known.
      dtype: of the numbers.
    """
    truth = (target > 0).astype(dtype)
    pixels, share = jnp.sum(truth, axis=(1, 2)), jnp.mean(truth, axis=(1, 2))
    some = pixels > 0
    height, width = size
    centers, squares = [], []
    for axis, number in ((1, height), (2, width)):
        length = target.shape[axis]
        places = jnp.asarray(np.arange(length), dtype)
        along = jnp.sum(truth, axis=3 - axis)
        middle = along @ places / jnp.maximum(pixels, 1.0)
        center = (middle + 0.5) * number / length - 0.5
        centers.append(center)
        own = jnp.asarray(np.arange(number), dtype).reshape(1, -1)
        squares.append(jnp.square(own - center[:, None]))
    distance = jnp.sqrt(squares[0][:, :, None] + squares[1][:, None, :])
    radius = jnp.maximum(jnp.sqrt(share * (height * width) / np.pi), LEAST_RADIUS)[:, None, None]
    any_target = some[:, None, None]
    near = (distance <= radius) & any_target
    support = _covered(truth, size)
    others = jnp.zeros_like(near)
    if distractors is not None:
        covered = _covered((distractors > 0).astype(dtype), size)
        others = _with_neighbours(covered) & any_target
    return Regions(
        near=near,
        far=(distance >= FAR * radius) & ~support & ~others & ~near & any_target,
        distractors=others & ~support & ~near,
        center=jnp.stack(centers, axis=-1),
        area=share,
    )


def _covered(mask: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Returns bool (B, h, w): positions of which the mask covers some part."""
    return pool_to(mask[..., None], *size)[..., 0] > LEAST_COVER


def _with_neighbours(mask: jax.Array) -> jax.Array:
    return jax.lax.reduce_window(mask, False, jax.lax.bitwise_or, (1, 3, 3), (1, 1, 1), "SAME")


def right_place(places: Candidates, regions: Regions) -> tuple[jax.Array, jax.Array]:
    """Returns the place at the target's centre, int (B,), and whether it can be learnt, bool (B,).

    It is the one whose map is greatest at the position nearest to the centre. It stands for the
    target if it is valid and near, and the target is small.
    """
    height, width = places.maps.shape[-2:]
    rounded = jnp.round(regions.center).astype(jnp.int32)  # halves to even
    row, column = (
        jnp.clip(rounded[:, axis], 0, size - 1) for axis, size in enumerate((height, width))
    )
    there = jax.vmap(lambda maps, y, x: maps[:, y, x])(places.maps, row, column)
    place = jnp.argmax(jnp.where(places.valid, there, -1.0), axis=1)

    def of_place(values: jax.Array) -> jax.Array:
        return jax.vmap(lambda own, index: own[index])(values, place)

    distance = jnp.linalg.norm(of_place(places.centers) - regions.center, axis=-1)
    learnt = of_place(places.valid) & (distance <= NEAR_ENOUGH)
    return place, learnt & (regions.area > 0) & (regions.area <= LARGEST_TARGET)


def weights(places: Candidates, regions: Regions) -> dict[str, jax.Array]:
    """Returns the number of samples that have a share in each term, () each."""
    dtype = places.maps.dtype
    having = {
        name: jnp.any(getattr(regions, name), axis=(1, 2))
        for name in ("near", "far", "distractors")
    }
    having["winner"] = right_place(places, regions)[1]
    return {name: jnp.sum(has.astype(dtype)) for name, has in having.items()}


def sums(
    evidence: jax.Array, scores: jax.Array, places: Candidates, regions: Regions
) -> dict[str, jax.Array]:
    """Returns each term summed over the samples that have a share in it, () each.

    Args:
      evidence: (B, h, w), log-odds.
      scores: (B, K).
      places: that the scores are of.
      regions: see `find_regions`.
    """

    def mean_within(values: jax.Array, region: jax.Array) -> jax.Array:
        count = jnp.sum(region.astype(values.dtype), axis=(1, 2))
        return jnp.sum(values * region, axis=(1, 2)) / jnp.maximum(count, 1.0)

    present, absent = jax.nn.softplus(-evidence), jax.nn.softplus(evidence)
    place, learnt = right_place(places, regions)
    shares = jax.nn.log_softmax(scores, axis=1)
    entropy = -jax.vmap(lambda own, index: own[index])(shares, place)
    return {
        "near": jnp.sum(mean_within(present, regions.near)),
        "far": jnp.sum(mean_within(absent, regions.far)),
        "distractors": jnp.sum(mean_within(absent, regions.distractors)),
        "winner": jnp.sum(jnp.where(learnt, entropy, 0.0)),
    }


def scales(distractors: bool) -> dict[str, float]:
    """Returns the factor of each term.

    Args:
      distractors: whether other objects are known.
    """
    factors = {"near": 1.0, "far": 1.0, "winner": WINNER_WEIGHT}
    return {**factors, "distractors": DISTRACTOR_SHARE} if distractors else factors
