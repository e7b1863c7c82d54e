"""Drawing a scene plan: the picture, and which item each pixel shows."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tfds_refsegrs.synthetic import plans

SUPERSAMPLE = 4
_UNITS = 128  # plan units per image side
_GRAIN = {  # relative strength of the fine and of the patchy texture
    "low vegetation": (0.07, 0.13),
    "tree": (0.13, 0.10),
    "road": (0.045, 0.05),
    "impervious surface": (0.05, 0.07),
    "sidewalk": (0.06, 0.03),
    "bikeway": (0.05, 0.04),
    "building": (0.035, 0.04),
}
_PLAIN_GRAIN = (0.03, 0.02)


@dataclasses.dataclass(frozen=True)
class Rendering:
    """A drawn scene.

    Attributes:
      image: uint8 (size, size, 3).
      ids: int32 (SUPERSAMPLE*size, SUPERSAMPLE*size), index into the plan's items of what is
        seen there.
    """

    image: np.ndarray
    ids: np.ndarray


def render(plan: plans.Plan, size: int, rng: np.random.Generator) -> Rendering:
    """Draws a plan.

    Args:
      plan: what to draw.
      size: side of the image in pixels.
      rng: source of texture, light and noise.

    Returns:
      The picture and the item of each subpixel.
    """
    canvas = _Canvas(plan, size)
    tall = [index for index, item in enumerate(plan.items) if item.height]
    for index, item in enumerate(plan.items):
        if not item.height:
            canvas.surface(item, index)
    vehicles = [i for i in tall if plan.items[i].kind not in ("building", "tree")]
    buildings = [i for i in tall if plan.items[i].kind == "building"]
    trees = [i for i in tall if plan.items[i].kind == "tree"]
    for group, draw in (
        (vehicles, canvas.vehicle),
        (buildings, canvas.building),
        (trees, canvas.tree),
    ):
        canvas.shadows([plan.items[i] for i in group])
        for index in group:
            draw(plan.items[index], index, rng)
    ids = np.asarray(canvas.ids)
    return Rendering(_photograph(canvas.color, ids, plan, size, rng), ids)


def coverage(chosen: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the mask of some items: pixels that they cover at least half.

    Args:
      chosen: bool (number of items,).
      ids: integers (SUPERSAMPLE*size, SUPERSAMPLE*size), see `Rendering`.

    Returns:
      uint8 array (size, size, 1) of 0 and 1.
    """
    tenfold = Image.fromarray(np.take(chosen * np.uint8(10 * SUPERSAMPLE**2), ids))
    tens_covered = np.asarray(tenfold.reduce(SUPERSAMPLE))  # 10 for each covered subpixel
    return (tens_covered >= 5 * SUPERSAMPLE**2).astype(np.uint8)[..., None]


class _Canvas:
    """Colours and item indices, drawn with the same outlines on a supersampled grid."""

    def __init__(self, plan: plans.Plan, size: int):
        self.scale = size * SUPERSAMPLE / _UNITS
        side = size * SUPERSAMPLE
        self.color = Image.new("RGB", (side, side))
        self.ids = Image.new("I", (side, side))
        self._pen = ImageDraw.Draw(self.color)
        self._id_pen = ImageDraw.Draw(self.ids)
        heading = math.radians(plan.heading)
        self._along = np.array((math.cos(heading), math.sin(heading)))
        self._across = np.array((-self._along[1], self._along[0]))
        self._centre = _UNITS / 2 + plan.offset * self._across
        self._sun = np.array((math.cos(math.radians(plan.sun)), math.sin(math.radians(plan.sun))))

    def _points(self, item: plans.Item, corners) -> np.ndarray:
        """Turns corners in the item's own frame, fractions of its length and width, to pixels."""
        angle = math.radians(item.angle)
        own = np.asarray(corners, float) * (item.length, item.width)
        u = item.u + own[:, 0] * math.cos(angle) - own[:, 1] * math.sin(angle)
        v = item.v + own[:, 0] * math.sin(angle) + own[:, 1] * math.cos(angle)
        place = self._centre + u[:, None] * self._along + v[:, None] * self._across
        return place * self.scale

    def _paint(self, item: plans.Item, corners, color) -> None:
        self._pen.polygon(_flat(self._points(item, corners)), fill=tuple(color))

    def _outline(self, item: plans.Item, corners, index: int) -> None:
        points = _flat(self._points(item, corners))
        self._pen.polygon(points, fill=item.color)
        self._id_pen.polygon(points, fill=index)

    def surface(self, item: plans.Item, index: int) -> None:
        """Draws a flat item."""
        self._outline(item, _box(), index)

    def shadows(self, items) -> None:
        """Darkens what lies below the shadows of items that are not drawn yet."""
        shade = Image.new("L", self.color.size)
        pen = ImageDraw.Draw(shade)
        for item in items:
            shape = _circle() if item.kind == "tree" else _box()
            points = self._points(item, shape)
            for step in np.linspace(0, 1, 7):
                shift = self._sun * step * item.height * 0.8 * self.scale
                pen.polygon(_flat(points + shift), fill=118)
        soft = shade.filter(ImageFilter.BoxBlur(SUPERSAMPLE / 2))
        self.color.paste((18, 22, 40), mask=soft)

    def vehicle(self, item: plans.Item, index: int, rng: np.random.Generator) -> None:
        """Draws a vehicle that faces its own +length end."""
        shape = _rounded(0.12 if item.kind in ("car", "van") else 0.04)
        self._outline(item, shape, index)
        _VEHICLES[item.kind](self, item)

    def building(self, item: plans.Item, index: int, rng: np.random.Generator) -> None:
        """Draws a roof, gabled or flat."""
        self._outline(item, _box(), index)
        if item.style == "flat":
            self._paint(item, _box(0.5, 0.5), _scaled(item.color, 0.82))
            self._paint(item, _box(0.5 - 1.2 / item.length, 0.5 - 1.2 / item.width), item.color)
            for _ in range(5):
                x, y = rng.uniform(-0.38, 0.38, 2)
                unit = _box(2 / item.length, 1.6 / item.width, x, y)
                self._paint(item, unit, _scaled(item.color, rng.choice((0.6, 1.2))))
            return
        long = item.length >= item.width
        lit, dark = _scaled(item.color, 1.13), _scaled(item.color, 0.8)
        half = ((-0.5, 0), (0.5, 0), (0.5, 0.5), (-0.5, 0.5))
        lower = half if long else [(y, x) for x, y in half]
        self._paint(item, _box(), lit)
        self._paint(item, lower, dark)
        ridge = _box(0.5, 0.5 / item.width) if long else _box(0.5 / item.length, 0.5)
        self._paint(item, ridge, _scaled(item.color, 1.35))

    def tree(self, item: plans.Item, index: int, rng: np.random.Generator) -> None:
        """Draws a crown of darker and lighter lobes."""
        ring = _circle(rng.uniform(0.82, 1.0, 18))
        self._outline(item, ring, index)
        for _ in range(9):
            x, y = rng.uniform(-0.26, 0.26, 2)
            lobe = _circle(rng.uniform(0.2, 0.4, 10)) + np.array((x, y))
            self._paint(item, lobe, _scaled(item.color, rng.uniform(0.75, 1.4)))


def _car(canvas: _Canvas, item: plans.Item) -> None:
    glass = (40, 48, 58)
    canvas._paint(item, _box(0.05, 0.4, 0.16), glass)
    canvas._paint(item, _box(0.04, 0.38, -0.3), glass)
    canvas._paint(item, _box(0.16, 0.36, -0.07), _scaled(item.color, 1.12))


def _van(canvas: _Canvas, item: plans.Item) -> None:
    canvas._paint(item, _box(0.05, 0.42, 0.34), (40, 48, 58))
    canvas._paint(item, _box(0.3, 0.36, -0.12), _scaled(item.color, 1.08))


def _truck(canvas: _Canvas, item: plans.Item) -> None:
    cab = 5.5 / item.length
    canvas._paint(item, _box(cab / 2, 0.5, 0.5 - cab / 2), (54, 84, 150))
    canvas._paint(item, _box(0.6 / item.length, 0.42, 0.5 - cab * 0.3), (34, 40, 50))
    canvas._paint(item, _box(0.5 / item.length, 0.5, 0.5 - cab), (40, 40, 44))
    canvas._paint(item, _box(0.42 - cab / 2, 0.06, -cab / 2), _scaled(item.color, 0.88))


def _bus(canvas: _Canvas, item: plans.Item) -> None:
    canvas._paint(item, _box(0.02, 0.44, 0.46), (40, 48, 58))
    for x in (-0.3, 0.0, 0.28):
        canvas._paint(item, _box(0.05, 0.22, x), _scaled(item.color, 0.72))
    for y in (-0.46, 0.46):
        canvas._paint(item, _box(0.47, 0.04, 0, y), _scaled(item.color, 0.6))


def _trailer(canvas: _Canvas, item: plans.Item) -> None:
    for x in np.arange(-0.4, 0.41, 0.16):
        canvas._paint(item, _box(0.022, 0.5, x), _scaled(item.color, 0.66))


_VEHICLES = {"car": _car, "van": _van, "truck": _truck, "bus": _bus, "trailer": _trailer}


def _box(half_length: float = 0.5, half_width: float = 0.5, x: float = 0.0, y: float = 0.0):
    a, b = half_length, half_width
    return [(x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b)]


def _rounded(cut: float):
    a, b = 0.5 - cut, 0.5 - cut * 1.6
    return [(-a, -0.5), (a, -0.5), (0.5, -b), (0.5, b), (a, 0.5), (-a, 0.5), (-0.5, b), (-0.5, -b)]


def _circle(radii: np.ndarray | None = None):
    radii = np.ones(18) if radii is None else radii
    turn = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    return np.stack([np.cos(turn) * radii, np.sin(turn) * radii], axis=1) / 2


def _flat(points: np.ndarray) -> list[float]:
    """Returns x and y of each point in turn, one of the forms that Pillow takes."""
    return points.ravel().tolist()


def _scaled(color, factor: float) -> tuple[int, ...]:
    return tuple(int(min(255, value * factor)) for value in color)


def _photograph(
    color: Image.Image, ids: np.ndarray, plan: plans.Plan, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Adds texture, light, haze and sensor noise to the flat colours."""
    grain = np.asarray([_GRAIN.get(item.kind, _PLAIN_GRAIN) for item in plan.items])
    centre = SUPERSAMPLE // 2
    seen = grain[ids[centre::SUPERSAMPLE, centre::SUPERSAMPLE]]
    texture = seen[..., 0] * rng.standard_normal((size, size))
    for cells, part in ((size // 3, 0.6), (max(size // 14, 2), 0.8)):
        texture += part * seen[..., 1] * _smooth_noise(rng, cells, size)
    pixels = np.asarray(color.reduce(SUPERSAMPLE), np.float64) * (1 + texture[..., None])
    light = rng.uniform(0.82, 1.12) * (1 + rng.uniform(-0.05, 0.05, 3))
    haze = rng.uniform(0, 0.12)
    pixels = pixels * light * (1 - haze) + 215 * haze
    pixels += rng.normal(0, 2.5, pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float64)
