"""Hostile and damaged input for every door through which users' files come in.

A door makes cases: it writes files into a folder and says how they are read, what a refusal has to
name, and how a result is checked. The same seed makes the same cases.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

SANDBOX = "inside"  # where a case may write, beside what it must not touch


class Wrong(Exception):  # noqa: N818 - what a case ends with when a door gave a wrong result
    """A door accepted what it had to refuse, or returned something else than it should."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One attempt.

    Attributes:
      label: what was done to the input.
      call: reads it.
      named: a refusal's message holds one of these: a file's name, or a key.
      check: raises `Wrong` for a result that is not right; None if the input must be refused.
      kinds: exceptions that the door documents.
    """

    label: str
    call: Callable[[], Any]
    named: tuple[str, ...]
    check: Callable[[Any], None] | None
    kinds: tuple[type[Exception], ...] = (ValueError,)


@dataclasses.dataclass(frozen=True)
class Door:
    """A way in.

    Attributes:
      name: of the door.
      prepare: makes what all its cases start from, in an empty folder; returns what `make` needs.
      make: writes case number k into an empty folder.
      share: of a run's cases, relative to other doors.
    """

    name: str
    prepare: Callable[[pathlib.Path], Any]
    make: Callable[[np.random.Generator, pathlib.Path, Any], Case]
    share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a case ended: `refused`, `correct` or `failure`, with a line about it."""

    kind: str
    label: str
    detail: str


def attempt(door: Door, material: Any, seed: int, number: int, arena: pathlib.Path) -> Outcome:
    """Runs a case.

    Args:
      door: through which.
      material: what `door.prepare` returned.
      seed: of all cases.
      number: of this case.
      arena: a folder of the caller; only the sandbox in it may change.
    """
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(door.name.encode()), number]))
    sandbox = arena / SANDBOX
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir(parents=True)
    case = door.make(rng, sandbox, material)
    before = _listing(arena)
    kind, detail = _judge(case)
    stray = sorted(before.items() ^ _listing(arena).items())
    if stray:
        return Outcome("failure", case.label, f"wrote outside of its folder: {stray[:3]}")
    return Outcome(kind, case.label, detail)


def _judge(case: Case) -> tuple[str, str]:
    try:
        result = case.call()
        if case.check is None:
            raise Wrong(f"accepted, with {str(result)[:80]!r}")
        case.check(result)
    except Wrong as wrong:
        return "failure", str(wrong)
    except case.kinds as error:
        message = str(error)
        if len(message) > 20_000:
            return "failure", f"a message of {len(message)} characters"
        if not any(name in message for name in case.named):
            return "failure", f"names none of {case.named}: {type(error).__name__}: {message[:200]}"
        return "refused", message
    except BaseException as error:  # what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        return "failure", f"{type(error).__module__}.{type(error).__name__}: {str(error)[:200]}"
    return "correct", ""


def _listing(arena: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Returns size and time of all files of the arena outside the sandbox."""
    found = {}
    for path in arena.iterdir():
        if path.name != SANDBOX:
            for file in (path, *path.rglob("*")):
                stat = file.lstat()
                found[str(file)] = (stat.st_size, stat.st_mtime_ns)
    return found


# Damage


def damaged(rng: np.random.Generator, content: bytes) -> tuple[str, bytes]:
    """Returns what was done, and bytes that differ from `content`, as broken disks make them."""
    kind = rng.choice(["cut", "empty", "bits", "run", "insert", "remove", "swap", "noise", "tail"])
    changed = _damaged(rng, kind, content)
    if changed == content:
        kind, changed = "cut", content[: len(content) // 2]
    return str(kind), changed


def _damaged(rng: np.random.Generator, kind: str, content: bytes) -> bytes:
    size = len(content)
    at, length = int(rng.integers(size)), int(rng.integers(1, 33))
    match kind:
        case "cut":
            return content[:at]
        case "empty":
            return b""
        case "bits":
            changed = bytearray(content)
            # Half of the flips hit the first bytes, where formats keep what everything hangs on.
            reach = size if rng.random() < 0.5 else min(size, 256)
            for place in rng.integers(reach, size=int(rng.integers(1, 9))):
                changed[place] ^= 1 << int(rng.integers(8))
            return bytes(changed)
        case "run":
            return content[:at] + rng.bytes(min(length, size - at)) + content[at + length :]
        case "insert":
            return content[:at] + rng.bytes(length) + content[at:]
        case "remove":
            return content[:at] + content[at + length :]
        case "swap":
            return content[at:] + content[:at]
        case "noise":
            return rng.bytes(size)
        case _:
            return content + rng.bytes(length)


_VALUES = [None, True, 0, -1, 1.5, 10**30, float("nan"), "", "x", "\0", "../../x", [], [[]], {}]
_VALUES += [{"a": {"b": 1}}, "9" * 400, [1, 2, 3], "ж\u202e"]


def damaged_json(rng: np.random.Generator, text: str) -> tuple[str, bytes]:
    """Returns what was done, and the bytes of a JSON document of another meaning, or of none."""
    kind = rng.choice(["node", "key", "drop", "deep", "bytes", "other", "duplicate", "utf16"])
    value = json.loads(text)
    match kind:
        case "node" | "key" | "drop":
            parent, key = _place(rng, value)
            if kind == "node" or isinstance(parent, list):
                fresh = [v for v in _VALUES if v != parent[key]]
                parent[key] = fresh[rng.integers(len(fresh))]
                return f"{kind} {key}", json.dumps(value).encode()
            found = parent.pop(key)
            if kind == "key":
                parent["ghost"] = found
            return f"{kind} {key}", json.dumps(value).encode()
        case "deep":
            return "deep", b"[" * 100_000
        case "other":
            return "other", json.dumps(_VALUES[rng.integers(len(_VALUES))]).encode()
        case "duplicate":
            return "duplicate", (text.rstrip()[:-1] + ', "ghost": 1}').encode()
        case "utf16":
            return "utf16", text.encode("utf-16")
        case _:
            how, content = damaged(rng, text.encode())
            return f"bytes {how}", content


def _place(rng: np.random.Generator, value: Any) -> tuple[Any, Any]:
    """Returns a random container in a document and a key of it."""
    places, pending = [], [value]
    while pending:
        node = pending.pop()
        items = list(node.items() if isinstance(node, dict) else enumerate(node))
        places += [(node, key) for key, _ in items]
        pending += [child for _, child in items if isinstance(child, dict | list)]
    return places[rng.integers(len(places))]


def pick(rng: np.random.Generator, choices: list) -> Any:
    """Returns one of the choices, of any type."""
    return choices[rng.integers(len(choices))]


def expect(right: bool, words: str) -> None:
    """Raises `Wrong` if a result is not right."""
    if not right:
        raise Wrong(words)


# Folders in RefSegRS's layout

IMAGE = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
MASK = np.where(IMAGE[..., :1] > 99, 255, 0).astype(np.uint8)[..., 0]
SPLITS = {"train": ("0", "1", "2"), "val": ("3",), "test": ("4", "5")}


def write_layout(folder: pathlib.Path) -> pathlib.Path:
    """Writes six small triplets."""
    from PIL import Image

    for name, pixels in (("images", IMAGE), ("masks", MASK)):
        (folder / name).mkdir()
        for ids in SPLITS.values():
            for image_id in ids:
                Image.fromarray(pixels).save(folder / name / f"{image_id}.tif")
    for split, ids in SPLITS.items():
        lines = "".join(f"{image_id} red car number {image_id}\n" for image_id in ids)
        (folder / f"output_phrase_{split}.txt").write_text(lines)
    return folder


IDS = ["../1", "/etc/passwd", "a\0b", ".", "..", "a/b", "C:1", "1\u200b", "x" * 70_000, "ключ"]
IDS += ["1\x1b[2J", "1\t", "\ufeff1", "~", "-rf", "1.tif", "images", "%00", "１"]
PHRASES = ["", " ", "\t", "\0", "\x1b[2J", "…", "red\0car", "red\rcar", "\u202ered", "x" * 200_000]
PHRASES += ["машина", "赤い車", "🚗", "straße", "red\tcar", "red\x7fcar", "a" * 20, "\u200b", "??"]
ENCODINGS = ["utf-16", "utf-16-le", "latin-1", "cp1251", "utf-32", "utf-8-sig", "gbk", "utf-7"]


def phrases_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Phrase files."""
    from tfds_refsegrs import layout

    shutil.copytree(material, folder, dirs_exist_ok=True)
    file = folder / "output_phrase_train.txt"
    label = str(rng.choice(["id", "phrase", "coding", "ends", "sep", "bytes", "lines", "kind"]))
    lines = ["0 red car", "1 tree along the road", "2 building"]
    at = int(rng.integers(3))
    content, good = "\n".join(lines).encode(), False
    match label:
        case "id":
            lines[at] = f"{pick(rng, IDS)} red car"
            content = "\n".join(lines).encode()
        case "phrase":
            lines[at] = f"{at} {pick(rng, PHRASES)}"
            content = "\n".join(lines).encode()
            good = True
        case "coding":
            coding = pick(rng, ENCODINGS)
            lines[at] = f"{at} {pick(rng, ['straße', 'дом', 'red car'])}"
            content = "\n".join(lines).encode(coding, "replace")
            good = True
        case "ends":
            content = (
                pick(rng, ["\r\n", "\r", "\n\n", "\x85", "\u2028", "\x0b"]).join(lines).encode()
            )
            good = True
        case "sep":
            lines[at] = lines[at].replace(" ", pick(rng, ["\t", "  ", "", ",", "\u00a0", ";"]), 1)
            content = "\n".join(lines).encode()
            good = True
        case "bytes":
            how, content = damaged(rng, content)
            label, good = f"bytes {how}", True
        case "lines":
            content = pick(
                rng,
                [
                    b"\n".join([content] * 2),
                    b"\n" * 2000 + content,
                    content + b"\n" * 2000,
                    b" " * 100_000 + content,
                    b"7 car\n" * 300,
                    content + b"\x1a",
                    b"\xef\xbb\xbf" * 2 + content,
                ],
            )
            good = True
        case _:
            file.unlink()
            content = None
            pick(
                rng,
                [lambda: None, file.mkdir, lambda: os.mkfifo(file), lambda: file.symlink_to(file)],
            )()
    if content is not None:
        file.write_bytes(content)

    def check(splits: dict) -> None:
        triplets = splits["train"]
        text = content.decode("utf-8-sig")
        whole = [line for line in text.splitlines() if line.strip("\ufeff \t\x1a")]
        expect(len(triplets) == len(whole), f"{len(triplets)} of {len(whole)} lines were read")
        for triplet, line in zip(triplets, whole, strict=True):
            expect(line.split(" ", 1)[0] == triplet.image_id, f"{triplet.image_id!r} of {line!r}")
            expect(triplet.phrase == line.split(" ", 1)[1].strip(), f"{line!r}")
            expect(any(map(str.isalnum, triplet.phrase)), f"no word in {triplet.phrase!r}")
            control = any(ord(sign) < 32 and sign != "\t" for sign in triplet.phrase)
            expect(not control, f"control characters in {triplet.phrase!r}")
            expect(triplet.image.resolve().is_relative_to(folder.resolve()), f"{triplet.image}")

    def call() -> dict:
        layout.fingerprint(folder)
        return layout.read_folder(folder)

    return Case(label, call, (file.name,), check if good else None)


def _odd_images() -> dict[str, tuple[Any, str]]:
    """Returns images that are no 8-bit RGB, with the suffix to save them under."""
    from PIL import Image

    grey, rgb = Image.fromarray(IMAGE[..., 0]), Image.fromarray(IMAGE)
    holes = rgb.convert("RGBA")
    holes.putpixel((3, 3), (0, 0, 0, 0))
    numbers = np.where(MASK > 0, np.float32(np.nan), IMAGE[..., 0].astype(np.float32))
    return {
        "16 bit": (Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 200), ".png"),
        "32 bit": (Image.fromarray(IMAGE[..., 0].astype(np.int32) * 70_000), ".tif"),
        "float": (Image.fromarray(numbers), ".tif"),
        "CMYK": (rgb.convert("CMYK"), ".tif"),
        "LAB": (rgb.convert("LAB"), ".tif"),
        "transparent": (holes, ".png"),
        "grey with alpha": (Image.merge("LA", (grey, Image.fromarray(MASK))), ".png"),
        "YCbCr": (rgb.convert("YCbCr"), ".tif"),
    }


def _same_image(rng: np.random.Generator, folder: pathlib.Path, stem: str) -> tuple[str, Any]:
    """Writes the image in another lossless form of equal pixels."""
    from PIL import Image

    rgb = Image.fromarray(IMAGE)
    form = pick(rng, ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "png", "opaque"])
    if form == "png":
        path = folder / f"{stem}.png"
        rgb.save(path, compress_level=int(rng.integers(10)))
    elif form == "opaque":
        path = folder / f"{stem}.png"
        rgb.convert("RGBA").save(path)
    else:
        path = folder / f"{stem}.tif"
        rgb.save(path, compression=None if form == "raw" else form)
    return form, path


def _bomb(path: pathlib.Path) -> None:
    """Writes a PNG of a few bytes that claims to have 3.6 thousand million pixels."""
    import io
    import struct

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def _special_file(rng: np.random.Generator, path: pathlib.Path) -> str:
    """Puts something at `path` that is no regular file."""
    kinds = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "broken link": lambda: path.symlink_to("absent"),
        "device": lambda: path.symlink_to("/dev/zero"),
        "secret": lambda: path.symlink_to("/etc/passwd"),
    }
    kind = pick(rng, list(kinds))
    kinds[kind]()
    return kind


def tiles_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Images and masks of a folder dataset."""
    from PIL import Image

    from tfds_refsegrs import layout, pixels

    shutil.copytree(material, folder, dirs_exist_ok=True)
    label = str(rng.choice(["same", "odd", "damaged", "bomb", "pages", "special", "size", "mask"]))
    images, masks, check = folder / "images", folder / "masks", None
    named = ("images/1.", "masks/1.", "image 1.", "several image files")
    (images / "1.tif").unlink()

    def call() -> tuple[np.ndarray, np.ndarray]:
        layout.fingerprint(folder)
        triplet = layout.read_folder(folder)["train"][1]
        return pixels.read_image(triplet.image), pixels.read_mask(triplet.mask)

    def same(found: tuple[np.ndarray, np.ndarray]) -> None:
        expect(np.array_equal(found[0], IMAGE), "the pixels are others")
        expect(np.array_equal(found[1][..., 0], MASK > 50), "the mask is another")

    def plausible(found: tuple[np.ndarray, np.ndarray]) -> None:
        expect(found[0].dtype == np.uint8 and found[0].ndim == 3, "no RGB")
        expect(found[0].shape[:2] == found[1].shape[:2], "sizes differ")

    match label:
        case "same":
            label, check = _same_image(rng, images, "1")[0], same
        case "odd":
            kind, (image, suffix) = pick(rng, list(_odd_images().items()))
            image.save(images / f"1{suffix}")
            label = kind
        case "damaged":
            form, path = _same_image(rng, images, "1")
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            lossless = form in ("png", "opaque")  # formats with checksums
            label, check = f"damaged {form} {how}", same if lossless else plausible
        case "bomb":
            _bomb(images / "1.png")
        case "pages":
            image = Image.fromarray(IMAGE)
            image.save(images / "1.tif", save_all=True, append_images=[image])
        case "special":
            label = _special_file(rng, images / "1.tif")
            named = (*named, "no image file 1")
        case "size":
            shape = pick(rng, [(1, 1, 3), (16, 12, 3), (12, 17, 3), (11, 16, 3)])
            Image.fromarray(np.zeros(shape, np.uint8)).save(images / "1.tif")
        case _:
            Image.fromarray(IMAGE).save(images / "1.tif")
            label, check = _make_mask(rng, masks / "1.tif", same)
    return Case(label, call, named, check)


def _make_mask(rng: np.random.Generator, path: pathlib.Path, same: Callable) -> tuple[str, Any]:
    from PIL import Image

    label = str(rng.choice(["mask same", "mask 0/1", "mask RGB", "mask 16 bit", "mask palette"]))
    image = Image.fromarray(MASK)
    match label:
        case "mask same":
            image.point(lambda value: 180 if value else 50).save(path)
            return label, same
        case "mask 0/1":
            image = Image.fromarray(np.minimum(MASK, 1))
        case "mask RGB":
            image = image.convert("RGB")
        case "mask 16 bit":
            image = Image.fromarray(MASK.astype(np.uint16))
        case _:
            image = image.convert("P")
    image.save(path)
    return label, None


def pictures_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Plain images for prediction."""
    from PIL import Image

    from rrsis_jax import pictures

    label = str(rng.choice(["same", "odd", "damaged", "bomb", "special", "animated", "suffix"]))
    path, check = folder / "picture.png", None

    def same(found: np.ndarray) -> None:
        expect(np.array_equal(found, IMAGE), "the pixels are others")

    def plausible(found: np.ndarray) -> None:
        expect(found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3, "no RGB")

    match label:
        case "same":
            form, path = _same_image(rng, folder, "picture")
            label, check = form, same
        case "odd":
            kind, (image, suffix) = pick(rng, list(_odd_images().items()))
            path = folder / f"picture{suffix}"
            image.save(path)
            label, check = kind, None if kind in ("16 bit", "32 bit", "float", "LAB") else plausible
        case "damaged":
            suffix = pick(rng, [".png", ".jpg", ".bmp", ".webp", ".gif", ".tif"])
            path = folder / f"picture{suffix}"
            Image.fromarray(IMAGE).save(path)
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            label, check = f"damaged {suffix} {how}", same if suffix == ".png" else plausible
        case "bomb":
            _bomb(path)
        case "special":
            label = _special_file(rng, path)
        case "animated":
            path = folder / "picture.gif"
            frame = Image.fromarray(IMAGE).quantize()
            frame.save(path, save_all=True, append_images=[frame.rotate(180)])
            wanted = np.asarray(frame.convert("RGB"))
            check = lambda found: expect(np.array_equal(found, wanted), "not the first frame")  # noqa: E731
        case _:
            path.write_bytes(
                pick(rng, [b"", b"\0" * 999, b"GIF89a", b"<svg/>", b"%PDF-1.7", b"P6 "])
            )
    return Case(label, lambda: pictures.read(path), (path.name,), check)


# Scenes


def scenes_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """GeoTIFFs, and how they are asked to be read."""
    import rasterio
    import rasterio.transform

    from rrsis_jax import raster

    label = str(rng.choice(["same", "type", "damaged", "grid", "bands", "ask", "code", "special"]))
    path, options, check = folder / "scene.tif", {}, None
    pixels = np.moveaxis(IMAGE, -1, 0)
    profile = {
        "driver": "GTiff",
        "height": 12,
        "width": 16,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": rasterio.transform.from_origin(4e5, 5e6, 0.5, 0.5),
    }

    def write() -> None:
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(pixels)

    def call() -> tuple[Any, ...]:
        with raster.open_scene(path, **options) as scene:
            rows = min(scene.model_grid.height, 8)
            return scene, scene.read_rows(0, rows), scene.read_reduced(64)

    def same(found: tuple[Any, ...]) -> None:
        expect(np.array_equal(found[1][0], IMAGE[:8]), "the pixels are others")
        expect(bool(found[1][1].all()), "pixels are invalid")

    def plausible(found: tuple[Any, ...]) -> None:
        for values, valid in found[1:]:
            expect(values.dtype == np.uint8 and values.ndim == 3, "no RGB of 8 bits")
            expect(valid.dtype == bool and valid.shape == values.shape[:2], "validity has no shape")

    match label:
        case "same":
            form = pick(rng, ["DEFLATE", "LZW", "ZSTD", "PACKBITS", "NONE"])
            profile |= {"compress": form, "interleave": pick(rng, ["pixel", "band"])}
            write()
            label, check = f"same {form}", same
        case "type":
            kind = pick(
                rng,
                ["uint16", "int16", "uint32", "int32", "float32", "float64", "int8", "complex64"],
            )
            pixels = pixels.astype(kind)
            special = pick(rng, [None, "nan", "inf", "nodata", "constant", "huge"])
            if special in ("nan", "inf") and np.dtype(kind).kind == "f":
                pixels[:, ::2] = float(special)
            elif special == "nodata":
                profile["nodata"] = int(pixels[0, 0, 0].real) % 100
            elif special == "constant":
                pixels[:] = 7
            elif special == "huge" and np.dtype(kind).kind == "f":
                pixels = pixels * np.finfo(kind).max / 300
            profile["dtype"] = kind
            write()
            label, check = f"type {kind} {special}", plausible
            if kind == "complex64":
                check = None
        case "damaged":
            profile |= {"compress": pick(rng, ["DEFLATE", "LZW", "NONE"])}
            profile |= pick(rng, [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
            write()
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            label, check = f"damaged {profile['compress']} {how}", plausible
        case "grid":
            zero = rasterio.Affine(0, 0, 0, 0, 0, 0)
            nan = rasterio.Affine(float("nan"), 0, 0, 0, -1, 0)
            far = rasterio.transform.from_origin(1e30, 1e30, 1e9, 1e9)
            turned = rasterio.Affine.rotation(30) * profile["transform"]
            profile |= pick(
                rng,
                [
                    {"transform": zero},
                    {"transform": nan},
                    {"transform": far},
                    {"transform": turned},
                    {"crs": None},
                    {"crs": "EPSG:4326"},
                    {"crs": 'LOCAL_CS["here",UNIT["metre",1]]'},
                ],
            )
            write()
            options["gsd"] = pick(rng, [None, 0.5, 1.0, 0.13])
            check = plausible
        case "bands":
            count = int(rng.integers(1, 6))
            profile["count"], pixels = count, np.resize(pixels, (count, 12, 16))
            write()
            options["bands"] = pick(
                rng, [None, (1, 1, 1), (0, 1, 2), (9, 9, 9), (-1, 1, 1), (), (1,)]
            )
            good = max(options["bands"] or (3,)) <= count and options["bands"] not in ((), (1,))
            good = good and min(options["bands"] or (1,)) > 0
            # Of two and of more than three bands without colours, four are read as RGB and alpha.
            check, label = plausible if good else None, f"bands {count} {options['bands']}"
        case "ask":
            write()
            options["gsd"] = pick(rng, [None, 1e-12, 1e300, 1e12, 5e-324, 0.49])
            options["stretch"] = pick(rng, [None, (0.0, 100.0), (50.0, 50.0001), (2, 98)])
            check, label = plausible, f"ask {options}"
        case "code":
            path.write_text(_VRT_WITH_CODE.format(canary=folder.parent / "canary"))
            check = plausible
        case _:
            label = _special_file(rng, path)
    return Case(label, call, (path.name, "gsd"), check)


_VRT_WITH_CODE = """<VRTDataset rasterXSize="8" rasterYSize="8">
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">
    <PixelFunctionType>write</PixelFunctionType>
    <PixelFunctionLanguage>Python</PixelFunctionLanguage>
    <PixelFunctionCode><![CDATA[
open("{canary}", "w").write("ran")
def write(*arguments, **named):
    open("{canary}", "w").write("ran")
]]></PixelFunctionCode>
  </VRTRasterBand>
</VRTDataset>
"""


# Weights

WEIGHTS = {
    "stem.weight": np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32),
    "stem.bias": np.arange(3, dtype=np.float32),
    "norm.weight": np.ones(5, np.float32),
}
TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


def import_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a file of weights and carries it into a small model."""
    import jax

    from rrsis_jax.pretrained import files, mapping

    rules = [
        *mapping.linear("stem", "params/stem"),
        mapping.Rule("norm.weight", "params/norm/scale"),
    ]
    expected = {
        "params/stem/kernel": jax.ShapeDtypeStruct((4, 3), np.float32),
        "params/stem/bias": jax.ShapeDtypeStruct((3,), np.float32),
        "params/norm/scale": jax.ShapeDtypeStruct((5,), np.float32),
    }
    return mapping.import_weights(files.read_state_dict(path), rules, [], expected)[0]


def check_weights(exact: bool) -> Callable[[dict[str, np.ndarray]], None]:
    """Returns the check of imported weights: equal to the written ones, or at least numbers."""

    def check(found: dict[str, np.ndarray]) -> None:
        wanted = {
            "params/stem/kernel": WEIGHTS["stem.weight"].T,
            "params/stem/bias": WEIGHTS["stem.bias"],
            "params/norm/scale": WEIGHTS["norm.weight"],
        }
        expect(found.keys() == wanted.keys(), "the names are others")
        for name, values in wanted.items():
            expect(found[name].shape == values.shape, f"the shape of {name}")
            expect(bool(np.isfinite(found[name]).all()), f"{name} is not finite")
            close = np.allclose(found[name], values, rtol=1e-2)
            expect(close or not exact, f"the values of {name}")

    return check


def safetensors_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Weights as safetensors."""
    import safetensors.numpy

    path = folder / "weights.safetensors"
    label = str(rng.choice(["header", "bytes", "type", "content", "size"]))
    weights, check = dict(WEIGHTS), check_weights(exact=False)
    match label:
        case "type":
            kind = pick(rng, [np.float16, np.float64, np.float32, np.int32, np.uint8, bool])
            weights = {name: x.astype(kind) for name, x in weights.items()}
            label += f" {kind.__name__}"
            check = check_weights(exact=True) if np.dtype(kind).kind == "f" else None
        case "content":
            check = _spoil(rng, weights)
    content = safetensors.numpy.save(weights)
    length = int.from_bytes(content[:8], "little")
    match label:
        case "header":
            how, header = damaged_json(rng, content[8 : 8 + length].decode())
            content = len(header).to_bytes(8, "little") + header + content[8 + length :]
            label += f" {how}"
        case "bytes":
            how, content = damaged(rng, content)
            label += f" {how}"
        case "size":
            declared = pick(rng, [0, 1, length - 1, length + 1, 2**63, 2**64 - 1, 10**12])
            content = declared.to_bytes(8, "little") + content[8:]
            label += f" {declared}"
    path.write_bytes(content)
    return Case(label, lambda: import_weights(path), (path.name, *WEIGHTS, "weights do not"), check)


def _spoil(rng: np.random.Generator, weights: dict[str, Any]) -> None:
    """Makes weights that no model can take."""
    kind = pick(rng, ["nan", "inf", "missing", "unknown", "shape", "empty", "scalar"])
    name = pick(rng, list(weights))
    match kind:
        case "nan" | "inf":
            weights[name] = weights[name].copy()
            weights[name].flat[0] = float(kind)
        case "missing":
            del weights[name]
        case "unknown":
            weights[pick(rng, ["ghost", "", "../x", "a\0b", "ж" * 500])] = np.ones(2, np.float32)
        case "shape":
            weights[name] = np.zeros((2, *weights[name].shape), np.float32)
        case "empty":
            weights.clear()
        case _:
            weights[name] = np.zeros((), np.float32)


class Evil:
    """Unpickled, it runs whatever it is told."""

    def __init__(self, function: Callable, *arguments: Any):
        """Takes what to run."""
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def torch_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Weights as PyTorch writes them, and as attackers do."""
    import io
    import pickle
    import zipfile

    import torch

    path = folder / pick(rng, ["weights.pth", "weights.pt", "weights.bin"])
    label = str(rng.choice(["code", "bytes", "wrap", "odd", "content", "type", "zip"]))
    tensors = {name: torch.from_numpy(x) for name, x in WEIGHTS.items()}
    check = None
    match label:
        case "code":
            canary = folder.parent / "canary"
            evil = pick(
                rng,
                [
                    Evil(os.system, f"touch {canary}"),
                    Evil(eval, f"open({str(canary)!r}, 'w')"),
                    Evil(exec, f"open({str(canary)!r}, 'w')"),
                    Evil(pathlib.Path.touch, canary),
                    Evil(open, str(canary), "w"),
                    Evil(getattr, pathlib.Path, "touch"),
                ],
            )
            content = pick(rng, [evil, {"model": evil}, {**tensors, "x": evil}, [evil], {evil: 1}])
            if rng.random() < 0.5:
                path.write_bytes(pickle.dumps(content, protocol=int(rng.integers(5))))
            else:
                torch.save(content, path, _use_new_zipfile_serialization=bool(rng.integers(2)))
        case "bytes":
            torch.save(tensors, path, _use_new_zipfile_serialization=bool(rng.integers(2)))
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            label, check = f"bytes {how}", check_weights(exact=False)
        case "wrap":
            prefixed = {f"module.{name}": x for name, x in tensors.items()}
            wrapped = [{"model": tensors}, {"state_dict": prefixed}, prefixed]
            wrapped += [{"model": prefixed, "epoch": 3, "optimizer": {}}]
            torch.save(pick(rng, wrapped), path)
            check = check_weights(exact=True)
        case "odd":
            odd = {
                "integers as names": {1: tensors["stem.bias"]},
                "tuples as names": {("a", 1): tensors["stem.bias"]},
                "section of another kind": {"model": [1, 2]},
                "nothing": {},
                "none": None,
                "number": 3.0,
                "text": "weights",
                "a tensor": tensors["stem.bias"],
                "nested": {"model": {"model": tensors}},
                "empty section": {"model": {}},
                "sparse": {**tensors, "stem.bias": tensors["stem.bias"].to_sparse()},
                "meta": {**tensors, "stem.bias": torch.empty(3, device="meta")},
                "strings": {"stem.bias": "x"},
            }
            label = pick(rng, list(odd))
            torch.save(odd[label], path)
        case "content":
            weights = dict(WEIGHTS)
            _spoil(rng, weights)
            torch.save({name: torch.from_numpy(np.array(x)) for name, x in weights.items()}, path)
        case "type":
            kinds = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn]
            kinds += [torch.int64, torch.bool, torch.complex64]
            kind = pick(rng, kinds)
            torch.save({name: x.to(kind) for name, x in tensors.items()}, path)
            label += f" {kind}"
            if kind in (torch.float16, torch.bfloat16, torch.float64):
                check = check_weights(exact=True)
            elif kind is torch.float8_e4m3fn:
                check = check_weights(exact=False)
        case _:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(pick(rng, ["../canary", "/canary", "archive/data.pkl", "x"]), b"x")
            path.write_bytes(buffer.getvalue())
    return Case(label, lambda: import_weights(path), (path.name, *WEIGHTS, "weights do not"), check)


VARIABLES = {
    "params": {"a": {"kernel": np.float32([[1, 2]]), "bias": np.float32([3])}},
    "batch_stats": {"bn": {"mean": np.zeros(2, np.float32)}},
}


def variables_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Folders of imported variables."""
    import flax.traverse_util
    import safetensors.numpy

    from rrsis_jax import checkpoints

    checkpoints.save_variables(folder, VARIABLES)
    (path,) = folder.iterdir()
    content = path.read_bytes()
    label = str(rng.choice(["header", "bytes", "names", "special"]))
    length = int.from_bytes(content[:8], "little")
    match label:
        case "header":
            how, header = damaged_json(rng, content[8 : 8 + length].decode())
            path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
            label += f" {how}"
        case "bytes":
            how, content = damaged(rng, content)
            path.write_bytes(content)
            label += f" {how}"
        case "names":
            flat = flax.traverse_util.flatten_dict(VARIABLES, sep="/")
            name = pick(
                rng, ["params", "params/a", "", "/", "params/a/kernel/x", "x" * 999, "a//b"]
            )
            flat[name] = np.ones(2, np.float32)
            path.write_bytes(safetensors.numpy.save(flat))
            label += f" {name[:20]}"
        case _:
            path.unlink()
            label = _special_file(rng, path)

    def check(found: dict) -> None:
        flat = flax.traverse_util.flatten_dict(found, sep="/")
        expect(all(isinstance(x, np.ndarray) for x in flat.values()), "no arrays")

    return Case(label, lambda: checkpoints.load_variables(folder), (path.name,), check)


# Configurations


def config_case(rng: np.random.Generator, folder: pathlib.Path, material: Any) -> Case:
    """Overrides of the command line."""
    from absl import flags
    from ml_collections import config_flags

    from rrsis_jax import optim, progress, run_config
    from rrsis_jax.models import segmenter

    config = material.copy_and_resolve_references().unlock()
    key, value = _override(rng, config)
    config.lock()

    def call() -> Any:
        arguments, values = ["main.py", f"--config.{key}={value}"], flags.FlagValues()
        try:
            with mock.patch.object(sys, "argv", arguments):  # where config_flags looks
                config_flags.DEFINE_config_dict("config", config, flag_values=values)
                values(arguments)
        except (flags.Error, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"main.py answers it: {error}") from error
        run_config.save_or_check(config, folder)
        plan = progress.make_plan(config, 100_000)
        optim.build_optimizer(config.optim, optim.build_schedule(config.optim, plan.total))
        segmenter.build_model(config.model)
        return config

    def check(found: Any) -> None:
        node = found
        for part in key.split("."):
            node = getattr(node, part)
        expect(_sensible(key, node), f"{key} = {node!r} was accepted")

    return Case(f"{key}={value[:40]}", call, (key, key.rpartition(".")[2]), check)


_OVERRIDES = ["-1", "0", "1", "3", "1e400", "nan", "-inf", "10000000000000000000000", "1.5", "-0.5"]
_OVERRIDES += ["many", "", "None", "True", "()", "(1,2)", "(0,0,0,0)", "(1,1,1,1)", "('a',)", "[]"]
_OVERRIDES += ["ж", "\0", "../x", "{}", "1e-9", "0.5", "lgce", "float16", "__import__('os')"]


def _override(rng: np.random.Generator, config: Any) -> tuple[str, str]:
    keys, pending = [], [("", config)]
    while pending:
        prefix, node = pending.pop()
        for key, value in node.items():
            if isinstance(value, type(config)):
                pending.append((f"{prefix}{key}.", value))
            else:
                keys.append(f"{prefix}{key}")
    keys = [key for key in sorted(keys) if not key.startswith("distributed.")]
    key = pick(rng, keys)
    if rng.random() < 0.05:
        key = pick(rng, [f"{key}x", "ghost", f"{key}.y", "train", "__class__", ""])
    return key, pick(rng, _OVERRIDES)


_FREE_TEXT = ("init_from", "dataset", "folder", "data_dir", "tokenizer", "pretrained")
_FROM_ZERO = {
    "seed", "data.prefetch", "optim.warmup_steps", "optim.weight_decay", "optim.clip_norm",
    "optim.ema_decay", "optim.b1", "optim.b2", "train.profile_steps", "eval.num_pictures",
    "loss.dice_weight", "model.text.trained_layers", "model.text.dropout", "model.fusion.dropout",
    "model.vision.drop_path_rate", "optim.power", "data.augment.crop_keeps",
    "data.augment.photometric",
}  # fmt: skip


def _sensible(key: str, value: Any) -> bool:
    """Tells whether a run with that value has a meaning."""
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return key.endswith(_FREE_TEXT) or value in ("lgce", "lavt", "float32", "bfloat16", "none")
    if isinstance(value, tuple):
        return len(value) in (2, 4) and all(x >= 0 for x in value) and any(x > 0 for x in value)
    return np.isfinite(value) and (value > 0 or (value == 0 and key in _FROM_ZERO)) and value < 1e12


# Runs


def small_state(step: int) -> dict[str, Any]:
    """Returns a state whose arrays name the step that they are of."""
    values = np.sin(np.arange(600, dtype=np.float32)) + np.float32(step)
    return {
        "step": np.int32(step),
        "params": {"decoder": {"kernel": values}},
        "batch_stats": {"bn": {"mean": np.zeros(2, np.float32)}},
    }


def save_checkpoints(folder: pathlib.Path) -> pathlib.Path:
    """Saves three checkpoints, the second of which is the best."""
    from rrsis_jax import checkpoints

    saved = checkpoints.Checkpoints(folder)
    for step, score in ((1, 0.3), (2, 0.9), (3, 0.5)):
        saved.save(step, small_state(step), {"history": [{"step": step}], "losses": []}, score)
    saved.wait()
    saved.close()
    return folder


def checkpoints_case(
    rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path
) -> Case:
    """Folders of checkpoints."""
    from rrsis_jax import checkpoints

    shutil.copytree(material, folder, dirs_exist_ok=True)
    label = str(rng.choice(["damage", "json", "delete", "swap", "stray", "rename"]))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = pick(rng, files)
    match label:
        case "damage":
            how, content = damaged(rng, path.read_bytes() or b"x")
            path.write_bytes(content)
            label += f" {path.relative_to(folder)} {how}"
        case "json":
            documents = [file for file in files if file.read_bytes()[:1] == b"{"]
            path = pick(rng, documents)
            how, content = damaged_json(rng, path.read_text())
            path.write_bytes(content)
            label += f" {path.relative_to(folder)} {how}"
        case "delete":
            if rng.random() < 0.5:
                path.unlink()
            else:
                path = path.parent
                shutil.rmtree(path)
            label += f" {path.relative_to(folder)}"
        case "swap":
            at = int(rng.integers(1, 4))
            other = (
                folder
                / str(at % 3 + 1)
                / path.relative_to(folder).relative_to(path.relative_to(folder).parts[0])
            )
            if other.is_file() and path.is_file():
                content = other.read_bytes()
                other.write_bytes(path.read_bytes())
                path.write_bytes(content)
            label += f" {path.relative_to(folder)} {at}"
        case "stray":
            stray = pick(
                rng, ["7", "999999999999999999999", "-1", "x", "07", "3.orbax-checkpoint-tmp"]
            )
            if rng.random() < 0.5:
                (folder / stray).mkdir()
            else:
                (folder / stray).write_text("stray")
            label += f" {stray}"
        case _:
            (folder / "3").rename(folder / pick(rng, ["4", "30", "three", "0"]))

    present = [path.name for path in folder.iterdir()]

    def call() -> tuple[Any, Any]:
        looking = checkpoints.Checkpoints(folder, read_only=True)
        try:
            best = looking.restore_best()
        except checkpoints.CheckpointError as error:
            best = error
        finally:
            looking.close()
        saved = checkpoints.Checkpoints(folder)
        try:
            return best, saved.restore_latest(small_state(0))
        finally:
            saved.close()

    def check(found: tuple[Any, Any]) -> None:
        best, latest = found
        if not isinstance(best, Exception):
            step, variables = best
            kernel = variables["params"]["decoder"]["kernel"]
            wanted = 2 if "2" in present else 3
            same = np.array_equal(kernel, small_state(wanted)["params"]["decoder"]["kernel"])
            expect(same, f"the best of {step} is another's")
        if latest is None:
            expect(not any(p.name.isdigit() for p in folder.iterdir()), "checkpoints were not seen")
            return
        state, progress = latest
        step = int(state["step"])
        wanted = small_state(step)["params"]["decoder"]["kernel"]
        expect(np.array_equal(state["params"]["decoder"]["kernel"], wanted), "another state")
        history = {"history": [{"step": step}], "losses": []}
        expect(progress == history, f"progress {progress} of step {step}")

    return Case(label, call, (str(folder),), check)


def small_model() -> Any:
    """Returns a model of two lines."""
    import jax.numpy as jnp

    from rrsis_jax import tile_model

    return tile_model.TileModel(
        encode_text=lambda variables, ids, mask: ids[..., None].astype(jnp.float32),
        log_odds=lambda variables, images, features, mask: (
            variables["gain"] * jnp.mean(images.astype(jnp.float32), axis=-1)
        ),
        variables={"gain": np.full((1, 1, 1), 9.0, np.float32)},
        tokenizer=_tokenizer(),
        tile=8,
        text_width=1,
        gsd=None,
    )


def save_bundle(folder: pathlib.Path) -> pathlib.Path:
    """Exports a small model."""
    from rrsis_jax import export

    export.save(small_model(), folder / "bundle")
    return folder / "bundle"


def _tokenizer() -> Any:
    from rrsis_jax.data import tokenizer

    return tokenizer.train(["red car", "tree along the road", "building"], 96, 8)


def bundles_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Exported bundles."""
    from rrsis_jax import export

    bundle = folder / "bundle"
    shutil.copytree(material, bundle)
    label, check = _spoil_folder(rng, bundle), None
    if label == "nothing":
        check = lambda found: expect(found.tile == 8, "another model")  # noqa: E731
    return Case(label, lambda: export.load(bundle), ("bundle",), check)


def _spoil_folder(rng: np.random.Generator, folder: pathlib.Path) -> str:
    """Changes, removes, swaps or adds a file in a folder; says what."""
    kind = str(rng.choice(["damage", "json", "delete", "swap", "add", "nothing"]))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = pick(rng, files), pick(rng, files)
    match kind:
        case "json":
            path = pick(rng, [file for file in files if file.suffix == ".json"])
            how, content = damaged_json(rng, path.read_text())
            path.write_bytes(content)
            return f"json {path.name} {how}"
        case "delete":
            path.unlink()
            return f"delete {path.name}"
        case "swap":
            contents = path.read_bytes(), other.read_bytes()
            if contents[0] == contents[1]:
                return "nothing"
            path.write_bytes(contents[1])
            other.write_bytes(contents[0])
            return f"swap {path.name} {other.name}"
        case "add":
            (path.parent / "more.json").write_text("{}")
            return "add more.json"
        case "damage":
            how, content = damaged(rng, path.read_bytes())
            path.write_bytes(content)
            return f"damage {path.name} {how}"
        case _:
            return kind


def write_workdir(folder: pathlib.Path) -> tuple[pathlib.Path, Any]:
    """Writes what a finished run leaves beside its checkpoints; returns its configuration too."""
    from rrsis_jax import metrics, run_config, sample_table
    from tests import conftest

    config = conftest.make_tiny_config()
    run_config.save_or_check(config, folder)
    facts = ("tree", "vegetation", "class", "2 to 10 %", 0.05)
    samples = [
        sample_table.Sample(k, f"id{k}", f"tile{k // 2}", *facts, 10 * k, 100, 12 * k, 120)
        for k in range(6)
    ]
    about = {
        "split": "test",
        "dataset": "refsegrs/folder/1.0.0",
        "image_size": 32,
        "decoder": "lgce",
        "checkpoint_step": 12,
        "config_sha256": "0" * 64,
        "mIoU, phrases shuffled": 0.25,
    }
    sample_table.save(sample_table.SampleTable(about, samples), folder)
    record = {"epoch": 1.0, "train_loss": 1.0, "mIoU": 0.1, "oIoU": 0.1, "P@0.5": 0.0}
    history = [{"step": k, **record} for k in (1, 2)]
    report = {"best_step": 2, "legend": metrics.LEGEND, "splits": {}, "history": history}
    (folder / "metrics.json").write_text(json.dumps(report))
    return folder, config


def workdirs_case(rng: np.random.Generator, folder: pathlib.Path, material: Any) -> Case:
    """The configuration, metrics and evaluations of a run."""
    from rrsis_jax import charts, report, run_config, sample_table

    source, config = material
    shutil.copytree(source, folder, dirs_exist_ok=True)
    name = pick(rng, ["config.json", "metrics.json", "evaluation_test.json"])
    path = folder / name
    text = path.read_text()
    if rng.random() < 0.1:
        path.unlink()
        label = _special_file(rng, path)
    else:
        label, content = damaged_json(rng, text)
        path.write_bytes(content)

    def read_config() -> None:
        run_config.check(config, folder)
        expect(run_config.load(folder).to_json() == config.to_json() or _free(folder, config), name)

    def read_metrics() -> None:
        history = report._history(folder)
        if history:
            charts.learning_curves(history)

    def read_evaluation() -> None:
        table = sample_table.load(folder, "test")
        for protocol in ("paper", "native"):
            numbers = table.summary(protocol)
            right = all(0.0 <= value <= 1.0 for key, value in numbers.items() if key != "samples")
            expect(right, f"numbers that are no shares: {numbers}")
        json.dumps(report._facts(table))

    calls = {
        "config.json": read_config,
        "metrics.json": read_metrics,
        "evaluation_test.json": read_evaluation,
    }
    named = (name, str(folder)) if name == "config.json" else (name,)
    return Case(f"{name}: {label}", calls[name], named, lambda found: None)


def _free(folder: pathlib.Path, config: Any) -> bool:
    """Tells whether a run's configuration differs in values only that a run may change."""
    from rrsis_jax import config_rules, run_config

    there = config_rules.flat(run_config._plain(run_config.load(folder)))
    here = config_rules.flat(run_config._plain(config))
    return {k for k in here if here[k] != there.get(k)} <= set(run_config._FREE)


def save_journal(folder: pathlib.Path) -> bytes:
    """Returns the journal of an interrupted scene."""
    from rrsis_jax import journal

    sums = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    journal.Journal(folder, "digest").save(journal.Position(5, 7, sums))
    (path,) = folder.iterdir()
    return path.read_bytes()


def journals_case(rng: np.random.Generator, folder: pathlib.Path, material: bytes) -> Case:
    """The journals of interrupted scenes."""
    import io

    from rrsis_jax import journal

    work = folder / "out" / "unfinished"
    work.mkdir(parents=True)
    path = work / "journal.npz"
    label, content = "other content", material
    if rng.random() < 0.7:
        label, content = damaged(rng, material)
    else:
        whole = {"digest": "digest", "tiles": 5, "rows": 7, "sums": np.zeros((2, 3, 4), np.float32)}
        key = pick(rng, list(whole))
        values = [None, "x", -1, np.zeros(3), float("nan"), np.array([Evil(print, 1)], object)]
        whole[key] = pick(rng, values)
        if whole[key] is None:
            del whole[key]
        buffer = io.BytesIO()
        np.savez(buffer, **whole)
        content, label = buffer.getvalue(), f"other {key}"
    path.write_bytes(content)

    def check(found: Any) -> None:
        expect(found is not None, "the journal was taken for none")
        expect((found.tiles, found.rows) == (5, 7), f"{found.tiles} tiles, {found.rows} rows")
        expect(found.sums.shape == (2, 3, 4) and found.sums.dtype == np.float32, "other sums")

    return Case(
        label, lambda: journal.Journal(work, "digest").read(), (str(folder / "out"),), check
    )


def tokenizers_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Folders of tokenizers."""
    from rrsis_jax.data import tokenizer

    shutil.copytree(material, folder / "tokenizer")
    label = _spoil_folder(rng, folder / "tokenizer")

    def call() -> Any:
        found = tokenizer.load(str(folder / "tokenizer"), 8)
        return found, found("tree along the road, a red car")

    def check(found: Any) -> None:
        words, (ids, mask) = found
        expect(ids.shape == mask.shape == (8,) and ids.dtype == np.int32, "no ids")
        expect(bool((ids >= 0).all() and (ids < words.vocab_size).all()), f"ids {ids}")
        expect(bool(((ids != 0) <= (mask == 1)).all()), f"ids without mask: {ids} {mask}")

    return Case(label, call, (str(folder / "tokenizer"),), check)


def save_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    """Saves a small tokenizer."""
    _tokenizer().save(folder / "tokenizer")
    return folder / "tokenizer"


def prepare_dataset(folder: pathlib.Path) -> pathlib.Path:
    """Prepares two synthetic scenes a split; returns TFDS's folder."""
    from rrsis_jax.data import input_pipeline

    (folder / "layout").mkdir()
    write_layout(folder / "layout")
    input_pipeline.prepare("refsegrs/folder", str(folder / "tfds"), str(folder / "layout"))
    return folder


def prepared_case(rng: np.random.Generator, folder: pathlib.Path, material: pathlib.Path) -> Case:
    """Prepared datasets."""
    from rrsis_jax.data import input_pipeline

    shutil.copytree(material / "tfds", folder / "tfds")
    (version,) = {path.parent for path in (folder / "tfds").rglob("dataset_info.json")}
    files = sorted(path for path in version.iterdir() if path.is_file())
    path = pick(rng, files)
    label = str(rng.choice(["damage", "json", "delete", "truncate"]))
    if label == "json":
        path = pick(rng, [file for file in files if file.suffix == ".json"])
        how, content = damaged_json(rng, path.read_text())
        path.write_bytes(content)
        label += f" {how}"
    elif label == "delete":
        path.unlink()
    elif label == "truncate":
        path = pick(rng, [file for file in files if "array_record" in file.name])
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.integers(len(content)))])
    else:
        how, content = damaged(rng, path.read_bytes())
        path.write_bytes(content)
        label += f" {how}"

    def call() -> list[dict]:
        builder = input_pipeline.prepare(
            "refsegrs/folder", str(folder / "tfds"), str(material / "layout")
        )
        return [
            source[index]
            for split in ("train", "validation", "test")
            for source in [input_pipeline.open_split(builder, split)]
            for index in range(len(source))
        ]

    def check(found: list[dict]) -> None:
        expect(len(found) == 6, f"{len(found)} samples of 6")
        for number, example in enumerate(found):
            expect(np.array_equal(example["image"], IMAGE), f"the pixels of {number}")
            phrase = f"red car number {number}"
            expect(input_pipeline.text(example["expression"]) == phrase, f"phrase {number}")

    return Case(f"{label} {path.name}", call, (str(folder / "tfds"),), check)


def nothing(folder: pathlib.Path) -> None:
    """Prepares nothing."""


def load_config(folder: pathlib.Path) -> Any:
    """Returns the smallest configuration."""
    from tests import conftest

    return conftest.make_tiny_config()


DOORS = {
    door.name: door
    for door in (
        Door("phrases", write_layout, phrases_case),
        Door("tiles", write_layout, tiles_case),
        Door("pictures", nothing, pictures_case),
        Door("scenes", nothing, scenes_case),
        Door("safetensors", nothing, safetensors_case),
        Door("torch", nothing, torch_case),
        Door("variables", nothing, variables_case),
        Door("config", load_config, config_case),
        Door("checkpoints", save_checkpoints, checkpoints_case),
        Door("bundles", save_bundle, bundles_case),
        Door("workdirs", write_workdir, workdirs_case),
        Door("journals", save_journal, journals_case),
        Door("tokenizers", save_tokenizer, tokenizers_case),
        Door("prepared", prepare_dataset, prepared_case),
    )
}
