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
    mask = images.read_mask(file)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[[0], [0], [1], [1]]])


def test_one_bit_mask(tmp_path):
    image = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(images.read_mask(saved(tmp_path, image)), [[[0], [1]]])


def test_empty_mask_is_allowed(tmp_path):
    assert images.read_mask(saved(tmp_path, Image.new("L", (3, 2)))).sum() == 0


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("RGB", (2, 2)), r"bands R\+G\+B; expected one 8-bit band, .* convert it"),
        (Image.new("I;16", (2, 2)), r"mode I;16 .* expected one 8-bit band"),
        (Image.new("L", (2, 2), 1), r"only 0 and 1, but .* above 50; write it as 0 and 255"),
    ],
)
def test_unclear_masks_are_refused(tmp_path, image, words):
    with pytest.raises(images.PixelError, match=words):
        images.read_mask(saved(tmp_path, image, "x.tif"))


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
