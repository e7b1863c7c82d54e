"""Cases of images that users bring: tiles with masks, pictures, scenes."""

import os
import pathlib
import shutil
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.stress.fuzz_case import Case, damaged, expect, pick

IMAGE = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
MASK = np.where(IMAGE[..., :1] > 150, 255, 0).astype(np.uint8)[..., 0]
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


def special_file(rng: np.random.Generator, path: pathlib.Path) -> str:
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

    from tfds_referring import phrase_files
    from tfds_referring.images import read_image, read_mask

    shutil.copytree(material, folder, dirs_exist_ok=True)
    label = str(rng.choice(["same", "odd", "damaged", "bomb", "pages", "special", "size", "mask"]))
    images, masks, check = folder / "images", folder / "masks", None
    named = ("images/1.", "masks/1.", "image 1.", "several image files")
    (images / "1.tif").unlink()

    def call() -> tuple[np.ndarray, np.ndarray]:
        phrase_files.fingerprint(folder)
        triplet = phrase_files.read_folder(folder)["train"][1]
        return read_image(triplet.image), read_mask(triplet.mask)

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
            label = special_file(rng, images / "1.tif")
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
            image.point(lambda value: 180 if value else 0).save(path)
            return label, same
        case "mask 0/1":
            Image.fromarray(np.minimum(MASK, 1)).save(path)
            return label, None
        case "mask RGB":
            image = image.convert("RGB")
        case "mask 16 bit":
            image = Image.fromarray(MASK.astype(np.uint16))
        case _:
            image = image.convert("P")
    image.save(path)
    return label, same


def pictures_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """Plain images for prediction."""
    from PIL import Image

    from rrsis_jax.prediction import image_files

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
            label = special_file(rng, path)
        case "animated":
            path = folder / "picture.gif"
            frame = Image.fromarray(IMAGE).quantize()
            frame.save(path, save_all=True, append_images=[frame.rotate(180)])
            wanted = np.asarray(frame.convert("RGB"))

            def check(found: np.ndarray) -> None:
                expect(np.array_equal(found, wanted), "not the first frame")

        case _:
            path.write_bytes(
                pick(rng, [b"", b"\0" * 999, b"GIF89a", b"<svg/>", b"%PDF-1.7", b"P6 "])
            )
    return Case(label, lambda: image_files.read(path)[0], (path.name,), check)


def scenes_case(rng: np.random.Generator, folder: pathlib.Path, material: None) -> Case:
    """GeoTIFFs, and how they are asked to be read."""
    import rasterio
    import rasterio.transform

    from rrsis_jax.geospatial import scenes

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
        with scenes.open_scene(path, **options) as scene:
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
            label = special_file(rng, path)
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
