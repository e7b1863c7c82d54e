"""The plan of a synthetic scene: what lies where along a street, before any pixel is drawn.

A plan is made in street coordinates: u runs along the main road, v across it, both in units of
1/128 of the image side (about 0.4 m on the ground). `render.py` turns them to the image.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

REACH = 100.0
"""Scenes are planned for u from minus this to this, so that the turned image is covered."""

_ROOFS = ((168, 82, 62), (150, 66, 52), (120, 92, 78), (196, 176, 150), (98, 104, 118))
_CARS = {
    "red": (196, 34, 34),
    "blue": (38, 74, 190),
    "white": (236, 236, 232),
    "black": (34, 34, 38),
    "silver": (166, 170, 176),
}


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing or surface of a scene.

    Attributes:
      kind: class name of the dataset, or a part that carries no phrase ("stall line").
      u: centre along the street.
      v: centre across the street.
      length: extent along the item's own axis.
      width: extent across the item's own axis; for a tree equal to `length`, its diameter.
      color: RGB of its main surface, 0 to 255.
      angle: degrees from the street's axis to the item's own.
      height: height that casts the shadow, in the same unit as lengths.
      tags: what phrases can tell about it: "driving", "parking", "red", "large", ...
      style: variant that the renderer draws.
    """

    kind: str
    u: float
    v: float
    length: float
    width: float
    color: tuple[int, int, int]
    angle: float = 0.0
    height: float = 0.0
    tags: frozenset[str] = frozenset()
    style: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole scene.

    Attributes:
      heading: degrees from the image's x axis to the street.
      offset: distance of the street from the image centre.
      sun: degrees of the direction into which shadows fall, in the image.
      items: every item, in drawing order.
    """

    heading: float
    offset: float
    sun: float
    items: tuple[Item, ...]


def make_plan(rng: np.random.Generator) -> Plan:
    """Plans a scene.

    Args:
      rng: source of every choice.

    Returns:
      The plan; the same generator state gives the same plan.
    """
    street = _Street.draw(rng)
    grounds: list[Item] = [_rect("low vegetation", 0, 0, 300, 300, _shade(rng, (112, 148, 66)))]
    things: list[Item] = []
    for item in (
        *_cross_road(rng, street),
        *_pavements(rng, street),
        *(item for side in (-1, 1) for item in _lots(rng, street, side)),
        *_traffic(rng, street),
        *_street_trees(rng, street),
    ):
        (things if item.height else grounds).append(item)
    order = {"low vegetation": 0, "impervious surface": 1, "stall line": 2, "sidewalk": 3}
    order |= {"bikeway": 3, "road": 4, "road marking": 5}
    grounds.sort(key=lambda item: order[item.kind])
    things.sort(key=lambda item: item.height)
    return Plan(
        heading=rng.uniform(0, 360),
        offset=rng.uniform(-18, 18),
        sun=rng.uniform(0, 360),
        items=(*grounds, *_apart(things)),
    )


@dataclasses.dataclass(frozen=True)
class _Street:
    """Cross-section of the main road; the bands next to it by side."""

    half: float
    bikeway: dict[int, float]
    sidewalk: dict[int, float]
    tree_side: int
    cross: float | None
    asphalt: tuple[int, int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Street":
        tree_side = int(rng.choice((-1, 1)))
        sides = {-1, 1} if rng.random() < 0.7 else {tree_side}
        bike_side = int(rng.choice((-1, 1)))
        return cls(
            half=rng.uniform(11, 14),
            bikeway={bike_side: rng.uniform(5.5, 7)} if rng.random() < 0.6 else {},
            sidewalk={side: rng.uniform(6, 8) for side in sorted(sides)},
            tree_side=tree_side,
            cross=rng.uniform(-45, 45) if rng.random() < 0.35 else None,
            asphalt=_shade(rng, (88, 90, 96), 8),
        )

    def front(self, side: int) -> float:
        """Distance from the road's axis to where the lots begin."""
        return self.half + self.bikeway.get(side, 0) + self.sidewalk.get(side, 0)


def _rect(kind: str, u: float, v: float, length: float, width: float, color, **more) -> Item:
    return Item(kind, u, v, length, width, color, **more)


def _shade(rng: np.random.Generator, color, spread: int = 14) -> tuple[int, int, int]:
    """Returns `color` made lighter or darker, and slightly off in hue."""
    shift = rng.integers(-spread, spread + 1) + rng.integers(-spread // 3, spread // 3 + 1, 3)
    red, green, blue = (int(value) for value in np.clip(np.asarray(color) + shift, 0, 255))
    return red, green, blue


def _cross_road(rng: np.random.Generator, street: _Street) -> Iterator[Item]:
    if street.cross is not None:
        yield _rect("road", street.cross, 0, 300, 17, street.asphalt, angle=90)
        for v in np.arange(-REACH, REACH, 14):
            if abs(v) > street.half + 8:
                yield _rect("road marking", street.cross, v, 7, 1.8, (232, 232, 226), angle=90)


def _pavements(rng: np.random.Generator, street: _Street) -> Iterator[Item]:
    """Main road, its markings, sidewalks and bikeway."""
    yield _rect("road", 0, 0, 300, 2 * street.half, street.asphalt)
    bike_color, walk_color = _shade(rng, (178, 96, 88)), _shade(rng, (206, 198, 190))
    for side, width in street.bikeway.items():
        v = side * (street.half + width / 2)
        yield _rect("bikeway", 0, v, 300, width, bike_color)
    for side, width in street.sidewalk.items():
        v = side * (street.front(side) - width / 2)
        yield _walk(side, v, width, street, walk_color)
    yield from _markings(rng, street)


def _walk(side: int, v: float, width: float, street: _Street, color) -> Item:
    tags = frozenset({"along with tree"} if side == street.tree_side else ())
    return _rect("sidewalk", 0, v, 300, width, color, tags=tags)


def _markings(rng: np.random.Generator, street: _Street) -> Iterator[Item]:
    white = _shade(rng, (236, 236, 230), 8)
    for u in np.arange(-REACH, REACH, 15):
        if street.cross is None or abs(u - street.cross) > 14:
            yield _rect("road marking", u, 0, 8.5, 2.2, white)
    crossing = rng.uniform(-40, 40) if street.cross is None else street.cross + 17
    if street.cross is not None or rng.random() < 0.7:
        for v in np.arange(-street.half + 3, street.half - 1.5, 5):
            yield _rect("road marking", crossing, v, 11, 2.8, white)


def _lots(rng: np.random.Generator, street: _Street, side: int) -> Iterator[Item]:
    """Fills one side of the street with lots, beginning in the middle of the image."""
    makers = [_parking, _houses] if side > 0 else [_court, _houses]
    if rng.random() < 0.5:
        makers.reverse()
    others = [_houses, _green, _hall, _parking, _court]
    spans = _spans(rng, street)
    for index, (start, end) in enumerate(spans):
        maker = makers[index] if index < 2 else others[int(rng.integers(len(others)))]
        yield from maker(rng, start, end, side, street)


def _spans(rng: np.random.Generator, street: _Street) -> list[tuple[float, float]]:
    """Returns the lots' extents along the street, the central ones first."""
    gap = 0.0 if street.cross is None else 11.0
    middle = rng.uniform(-8, 8) if street.cross is None else street.cross
    spans = []
    for direction in (-1, 1):
        edge = gap
        while edge < REACH:
            length = rng.uniform(46, 60)
            ends = sorted((middle + direction * edge, middle + direction * (edge + length)))
            spans.append(tuple(ends))
            edge += length
    return sorted(spans, key=lambda span: abs(sum(span)))


def _building(rng, u, v, length, width, *tags: str, color=None, style: str = "gable") -> Item:
    large = {"large"} if length * width > 600 else set()
    return Item(
        "building",
        u,
        v,
        length,
        width,
        color or _shade(rng, _ROOFS[int(rng.integers(len(_ROOFS)))]),
        height=rng.uniform(5, 9),
        tags=frozenset({*tags, *large}),
        style=style,
    )


def _tree(rng: np.random.Generator, u: float, v: float, *tags: str) -> Item:
    size = rng.uniform(9, 15)
    color = _shade(rng, (44, 84, 40), 12)
    return Item("tree", u, v, size, size, color, height=10.0, tags=frozenset(tags))


def _houses(rng, start, end, side, street) -> Iterator[Item]:
    """Small houses by the street, others and trees behind them."""
    front, half = street.front(side), (end - start) / 2
    for u in (start + half / 2, end - half / 2):
        length, width = rng.uniform(16, half - 5), rng.uniform(14, 18)
        yield _building(rng, u, side * (front + 4 + width / 2), length, width, "along the road")
        if rng.random() < 0.75:
            back = side * (front + rng.uniform(42, 48))
            yield _building(rng, u + rng.uniform(-4, 4), back, rng.uniform(14, 20), width)
        else:
            yield _tree(rng, u, side * (front + 42))
    yield _tree(rng, start + half, side * (front + rng.uniform(24, 30)))


def _hall(rng, start, end, side, street) -> Iterator[Item]:
    """A large flat-roofed building on pavement."""
    front, middle, length = street.front(side), (start + end) / 2, end - start
    yield _ground(rng, "impervious surface", middle, side * (front + 32), length - 2, 60)
    width = rng.uniform(28, 36)
    v = side * (front + 5 + width / 2)
    color = _shade(rng, (188, 190, 196))
    yield _building(rng, middle, v, length - 12, width, "along the road", color=color, style="flat")


def _court(rng, start, end, side, street) -> Iterator[Item]:
    """Four wings around a green court."""
    front, middle = street.front(side), (start + end) / 2
    length, depth, wing = end - start - 4, rng.uniform(46, 52), rng.uniform(10, 12)
    v = side * (front + 3 + depth / 2)
    color = _shade(rng, _ROOFS[int(rng.integers(3))])
    grass = _shade(rng, (128, 164, 74))
    tag = frozenset({"surrounded by building"})
    inner = (length - 2 * wing, depth - 2 * wing)
    yield _rect("low vegetation", middle, v, *inner, grass, tags=tag)
    for sign in (-1, 1):
        row = v + sign * side * (depth - wing) / 2
        tags = ("along the road",) if sign < 0 else ()
        yield _building(rng, middle, row, length, wing, *tags, color=color)
        column = middle + sign * (length - wing) / 2
        yield _wing(rng, column, v, depth - 2 * wing, wing, color)


def _wing(rng, u, v, length, width, color) -> Item:
    wing = _building(rng, u, v, length, width, color=color)
    return dataclasses.replace(wing, angle=90.0)


def _green(rng, start, end, side, street) -> Iterator[Item]:
    """Lawn with a group of trees."""
    front = street.front(side)
    for _ in range(7):
        u, v = rng.uniform(start + 6, end - 6), front + rng.uniform(18, 60)
        yield _tree(rng, u, side * v)


def _ground(rng, kind: str, u: float, v: float, length: float, width: float, **more) -> Item:
    return _rect(kind, u, v, length, width, _shade(rng, (158, 152, 144), 10), **more)


def _parking(rng, start, end, side, street) -> Iterator[Item]:
    """Stalls across the street's direction, with a row for trailers behind."""
    front, middle, length = street.front(side), (start + end) / 2, end - start - 4
    yield _ground(rng, "impervious surface", middle, side * (front + 25), length, 48)
    rows = (front + 9, front + 28)
    for row in rows:
        for u in np.arange(middle - length / 2 + 4, middle + length / 2 - 7, 8.5):
            yield _rect("stall line", u, side * row, 13, 0.7, (190, 186, 180), angle=90)
            if rng.random() < 0.5:
                kind = "car" if rng.random() < 0.75 else "van"
                yield _vehicle(rng, kind, u + 4.25, side * row, 90.0, "parking")
    count = int(rng.integers(1, 3))
    for index in range(count):
        u = middle + (index - (count - 1) / 2) * 24
        yield _vehicle(rng, "trailer", u, side * (front + 42), 0.0, "parking")


_SIZES = {
    "car": (10.5, 5.0),
    "van": (13.5, 6.2),
    "truck": (22.0, 7.0),
    "bus": (29.0, 7.4),
    "trailer": (18.0, 6.8),
}
_COLORS = {
    "van": ((232, 200, 60), (240, 240, 240), (88, 150, 96)),
    "truck": ((220, 224, 228), (150, 186, 214), (206, 206, 196)),
    "bus": ((240, 176, 36), (232, 120, 40)),
    "trailer": ((150, 108, 66), (134, 92, 60)),
}


def _vehicle(rng, kind: str, u: float, v: float, angle: float, *tags: str) -> Item:
    length, width = np.asarray(_SIZES[kind]) * rng.uniform(0.95, 1.1)
    marks = {*tags}
    if kind == "truck" and rng.random() < 0.5:
        length *= 1.45
        marks.add("long")
    if kind == "car":
        name = str(rng.choice(list(_CARS)))
        marks.add(name)
        color = _CARS[name]
    else:
        color = _COLORS[kind][int(rng.integers(len(_COLORS[kind])))]
    return Item(
        kind,
        u,
        v,
        float(length),
        float(width),
        _shade(rng, color, 8),
        angle=angle + rng.uniform(-2, 2),
        height=1.6 if kind == "car" else 2.6,
        tags=frozenset(marks),
    )


def _traffic(rng: np.random.Generator, street: _Street) -> Iterator[Item]:
    """Vehicles on both lanes; kinds are dealt so that the rare ones are not rare here."""
    for lane in (-1, 1):
        deck = ["car", "van", "truck", "bus", "car"]
        rng.shuffle(deck)
        edge = rng.uniform(-64, -48)
        for kind in deck:
            length = _SIZES[kind][0] * 1.45
            vehicle = _vehicle(
                rng, kind, edge + length / 2, lane * street.half / 2, 90.0 - 90 * lane, "driving"
            )
            yield vehicle
            edge += length + rng.uniform(3, 16)


def _street_trees(rng: np.random.Generator, street: _Street) -> Iterator[Item]:
    side = street.tree_side
    v = side * (street.front(side) + 1)
    for u in np.arange(-REACH + rng.uniform(0, 8), REACH, 17):
        if street.cross is None or abs(u - street.cross) > 18:
            yield _tree(rng, u + rng.uniform(-2, 2), v, "along the road")


def _apart(things: list[Item]) -> list[Item]:
    """Drops vehicles that would stand in another one; trees may touch."""
    apart: list[Item] = []
    for item in things:
        near = (other for other in apart if other.kind in _SIZES and item.kind in _SIZES)
        if all(_distance(item, other) > 0 for other in near):
            apart.append(item)
    return apart


def _distance(one: Item, other: Item) -> float:
    """Returns a lower bound of the free space between two items along u or v."""
    gaps = []
    for axis, centre in enumerate(("u", "v")):
        reach = (_extent(one)[axis] + _extent(other)[axis]) / 2
        gaps.append(abs(getattr(one, centre) - getattr(other, centre)) - reach)
    return max(gaps)


def _extent(item: Item) -> tuple[float, float]:
    cos, sin = abs(math.cos(math.radians(item.angle))), abs(math.sin(math.radians(item.angle)))
    return item.length * cos + item.width * sin, item.length * sin + item.width * cos
