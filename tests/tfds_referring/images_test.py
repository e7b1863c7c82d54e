import io

import numpy as np
import pytest
from PIL import Image

from tfds_referring import images

RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def saved(tmp_path, image, name="x.png", **options):
    file = tmp_path / name
    image.save(file, **options)
    return file


def test_rgb_is_read_unchanged(tmp_path):
    file = saved(tmp_path, Image.fromarray(RGB), "x.tif")
    np.testing.assert_array_equal(images.read_image(file), RGB)


def test_lossless_conversions(tmp_path):
    opaque = saved(tmp_path, Image.fromarray(RGB).convert("RGBA"))
    np.testing.assert_array_equal(images.read_image(opaque), RGB)
    gray = saved(tmp_path, Image.fromarray(RGB[..., 0]))
    np.testing.assert_array_equal(images.read_image(gray), np.repeat(RGB[..., :1], 3, axis=2))
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    palette.putpalette([9, 8, 7, 6, 5, 4])
    np.testing.assert_array_equal(
        images.read_image(saved(tmp_path, palette)), [[[9, 8, 7], [6, 5, 4]]]
    )


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("I;16", r"mode I;16; expected 8-bit RGB .* convert it"),
        ("CMYK", r"mode CMYK; expected 8-bit RGB"),
        ("RGBA", r"mode RGBA with transparent pixels; expected"),
    ],
)
def test_lossy_image_modes_are_refused(tmp_path, mode, words):
    image = Image.new(mode, (4, 4))
    with pytest.raises(images.PixelError, match=words):
        images.read_image(saved(tmp_path, image, "x.tif"))


def test_mask_foreground_is_above_50(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.array([[0, 50, 51, 255]], np.uint8)))
    mask = images.read_mask(file, "above 50")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[[0], [0], [1], [1]]])


def test_one_bit_mask(tmp_path):
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(images.read_mask(saved(tmp_path, image)), [[[0], [1]]])


def test_empty_mask_is_allowed(tmp_path):
    assert images.read_mask(saved(tmp_path, Image.new("L", (3, 2)))).sum() == 0


GREY = np.array([[0, 50, 51, 255]], np.uint8)


def palette_of(colours):
    image = Image.fromarray(np.array([[0, 0, 1, 1]], np.uint8), "L").convert("P")
    image.putpalette(colours)
    return image


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (Image.fromarray(np.array([[0, 0, 65535, 255]], np.uint16)), "x.png"),
        (Image.fromarray(np.array([[0, 0, 65535, 255]], np.uint16)), "x.tif"),
        (Image.fromarray(np.array([[0, 0, 99999, 255]], np.int32)), "x.tif"),
        (palette_of([0, 0, 0, 255, 255, 255]), "x.png"),
        (Image.fromarray(np.repeat(GREY[..., None], 3, axis=2)), "x.png"),
        (Image.fromarray(GREY).convert("LA"), "x.png"),
        (Image.merge("LA", [Image.fromarray(GREY)] * 2), "x.png"),
        (Image.fromarray(GREY).convert("RGBA"), "x.png"),
    ],
)
def test_masks_whose_channels_agree_are_read(tmp_path, image, name):
    mask = images.read_mask(saved(tmp_path, image, name), "above 50")
    np.testing.assert_array_equal(mask[..., 0], [[0, 0, 1, 1]])


def with_alpha(mode, alpha):
    image = Image.fromarray(GREY).convert(mode)
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("RGB", (2, 2), "red"), "has colours, not grey values; .* classes as numbers"),
        (palette_of([0, 0, 0, 128, 0, 0]), "has colours, not grey values"),
        (with_alpha("RGBA", 7), "transparent pixels that say something else"),
        (with_alpha("LA", 0), "transparent pixels that say something else"),
        (Image.fromarray(np.ones((2, 2), np.float32)), "mode F; expected one grey band; convert"),
        (Image.fromarray(np.array([[0, -1]], np.int32)), "negative value -1; write ids from 0 on"),
        (Image.new("L", (2, 2), 1), r"holds the values 1, which may be ids; say .* 'nonzero' or"),
        (Image.fromarray(GREY), "holds the values 0, 50, 51, 255, which may be ids"),
    ],
)
def test_unclear_masks_are_refused(tmp_path, image, words):
    name = "x.png" if "A" in image.mode else "x.tif"
    with pytest.raises(images.PixelError, match=words):
        images.read_mask(saved(tmp_path, image, name))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_orientation_turns_image_and_mask(tmp_path, suffix, orientation):
    shown = np.zeros((16, 24, 3), np.uint8)
    shown[:8, :16] = 255
    turns = {1: 0, 3: 2, 6: 1}[orientation]  # quarter turns from the shown to the stored pixels
    exif = Image.Exif()
    exif[274] = orientation
    file = saved(tmp_path, Image.fromarray(np.rot90(shown, turns)), f"x.{suffix}", exif=exif)
    np.testing.assert_array_equal(images.read_image(file) > 127, shown > 127)
    np.testing.assert_array_equal(images.read_mask(file)[..., 0], shown[..., 0] > 127)


def test_damaged_files(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(np.resize(RGB, (64, 64, 3))).save(whole, "TIFF", compression="tiff_lzw")
    for name, content in (
        ("truncated.tif", whole.getvalue()[: len(whole.getvalue()) // 2]),
        ("text.tif", b"not an image"),
        ("empty.tif", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(images.PixelError, match=r"cannot be decoded .* replace the file"):
            images.read_image(tmp_path / name)


def test_several_pages_are_refused(tmp_path):
    file = tmp_path / "pages.tif"
    Image.fromarray(RGB).save(file, save_all=True, append_images=[Image.fromarray(RGB)])
    with pytest.raises(images.PixelError, match="has 2 pages; keep one per file"):
        images.read_image(file)


@pytest.mark.parametrize("limit", [15, 8])  # Pillow warns above the limit, raises above twice it
def test_decompression_bomb(tmp_path, monkeypatch, limit):
    file = saved(tmp_path, Image.fromarray(RGB))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(images.PixelError, match=r"too large to be a tile .* cut it into tiles"):
        images.read_image(file)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_value(channels):
    array = np.ascontiguousarray(RGB[..., :channels])
    decoded = np.asarray(Image.open(io.BytesIO(images.to_png(array)))).reshape(array.shape)
    np.testing.assert_array_equal(decoded, array)
