"""Scenes: which pixels are read, at which resolution, and what is said about them."""

import importlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from rrsis_jax.geospatial import georeference, scenes

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning"
)


def read_all(path, **how):
    with scenes.open_scene(path, **how) as scene:
        pixels, valid = scene.read_rows(0, scene.model_grid.height)
        return pixels, valid, scene


def test_the_first_three_bands_are_read_as_they_are(write_scene, image):
    four = np.concatenate([image, image[..., :1]], axis=-1)
    pixels, valid, scene = read_all(write_scene(four, photometric="MINISBLACK"))
    np.testing.assert_array_equal(pixels, image)
    assert valid.all()
    assert scene.notes == []
    assert scene.own_grid == scene.model_grid


def test_bands_are_found_by_their_colour(write_scene, image):
    colours = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    path = write_scene(image[..., ::-1], colorinterp=colours, photometric="MINISBLACK")
    np.testing.assert_array_equal(read_all(path)[0], image)


def test_bands_are_taken_as_told(write_scene, image):
    pixels, _, _ = read_all(write_scene(image), bands=(3, 1, 1))
    np.testing.assert_array_equal(pixels, image[..., [2, 0, 0]])


def test_band_counts_that_do_not_do(write_scene, image):
    path = write_scene(image[..., :1])
    with pytest.raises(ValueError, match=r"has 1 band\(s\).*--bands 1,1,1 takes the first as grey"):
        read_all(path)
    np.testing.assert_array_equal(read_all(path, bands=(1, 1, 1))[0], image[..., [0, 0, 0]])
    for bands in ((1, 2, 3), (1, 1), (0, 1, 1)):
        with pytest.raises(ValueError, match="give three numbers from 1 to 1"):
            read_all(path, bands=bands)


def test_pixels_without_data_are_invalid(write_scene, image):
    image = np.maximum(image, 1)
    image[:10, :20] = 0
    image[20, 20, 0] = 0  # black in one band only is a colour
    _, valid, _ = read_all(write_scene(image, nodata=0))
    expected = np.ones((75, 90), bool)
    expected[:10, :20] = False
    np.testing.assert_array_equal(valid, expected)


def test_transparent_pixels_are_invalid(write_scene, image):
    alpha = np.full((75, 90, 1), 255, np.uint8)
    alpha[:, 50:] = 0
    pixels, valid, _ = read_all(write_scene(np.concatenate([image, alpha], axis=-1)))
    np.testing.assert_array_equal(pixels[:, :50], image[:, :50])
    np.testing.assert_array_equal(valid, alpha[..., 0] > 0)


def test_values_of_16_bits_are_stretched_by_percentiles(write_scene):
    values = np.arange(10000, dtype=np.uint16).reshape(100, 100, 1) * np.array([1, 2, 3], np.uint16)
    pixels, _, scene = read_all(write_scene(values, photometric="MINISBLACK"))
    np.testing.assert_allclose(scene.limits, np.outer([1, 2, 3], [199.98, 9799.02]), rtol=1e-3)
    assert pixels.dtype == np.uint8
    assert pixels.min() == 0
    assert pixels.max() == 255
    np.testing.assert_allclose(pixels[50, 0], 128, atol=1)
    assert "stretched to 0–255" in scene.notes[0]


def test_missing_numbers_of_float_bands_are_invalid(write_scene, image):
    values = image.astype(np.float32)
    values[3, 4, 1] = np.nan
    _, valid, _ = read_all(write_scene(values, photometric="MINISBLACK"), stretch=(0.0, 100.0))
    assert not valid[3, 4]
    assert valid.sum() == valid.size - 1


def test_a_stretch_needs_some_data(write_scene):
    path = write_scene(np.zeros((40, 40, 3), np.uint16), nodata=0)
    with pytest.raises(ValueError, match="has no pixel with data"):
        read_all(path)


def test_the_ground_size_of_pixels():
    utm = georeference.Grid(
        rasterio.CRS.from_epsg(32633), from_origin(500000, 5000000, 0.5, 0.25), 100, 100
    )
    np.testing.assert_allclose(georeference.pixel_size(utm), (0.25, 0.5), rtol=4e-3)
    # A degree of latitude is about 111.2 km, one of longitude half of that at 60 degrees.
    degrees = georeference.Grid(rasterio.CRS.from_epsg(4326), from_origin(10, 60, 1e-5, 1e-5), 2, 2)
    np.testing.assert_allclose(georeference.pixel_size(degrees), (1.112, 0.556), rtol=1e-3)
    mercator = georeference.Grid(
        rasterio.CRS.from_epsg(3857), from_origin(0, 8399737.89, 1.0, 1.0), 2, 2
    )
    np.testing.assert_allclose(
        georeference.pixel_size(mercator), (0.5, 0.5), rtol=5e-3
    )  # at 60 degrees


def test_a_scene_is_resampled_to_the_wanted_ground_size(write_scene, image):
    blocks = image[:40, :40].repeat(2, axis=0).repeat(2, axis=1)
    pixels, valid, scene = read_all(write_scene(blocks), gsd=1.0)
    assert pixels.shape[:2] == (scene.model_grid.height, scene.model_grid.width)
    assert abs(pixels.shape[0] - 40) <= 1
    assert valid[:40, :40].all()
    assert "it is read at 1 m" in scene.notes[0]
    difference = np.abs(pixels[5:35, 5:35].astype(int) - image[5:35, 5:35])
    assert difference.mean() < 25  # neighbours differ by 60 of noise


def test_a_ground_size_that_is_nearly_right_is_left_alone(write_scene, image):
    pixels, _, scene = read_all(write_scene(image), gsd=0.505)
    np.testing.assert_array_equal(pixels, image)
    assert scene.notes == []


@pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # of writing the test's own file
)
def test_a_scene_without_georeference_says_so(write_scene, image):
    path = write_scene(image, crs=None, transform=rasterio.Affine.identity())
    pixels, _, scene = read_all(path, gsd=2.0)
    np.testing.assert_array_equal(pixels, image)
    assert not scene.georeferenced
    assert "has no georeference: a pixel is taken as a pixel" in scene.notes[0]


def test_files_that_cannot_be_read(write_scene, image, tmp_path):
    (tmp_path / "text.tif").write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.tif cannot be read as an image"):
        read_all(tmp_path / "text.tif")
    with pytest.raises(ValueError, match="There is no image"):
        read_all(tmp_path / "absent.tif")
    path = write_scene(np.tile(image, (4, 4, 1)), compress="DEFLATE")
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(ValueError, match=r"scene\.tif (is damaged|cannot be read)"):
        read_all(path)


@pytest.mark.parametrize("module", ["georeference", "polygons"])
def test_a_missing_extra_is_named(module, monkeypatch):
    name = f"rrsis_jax.geospatial.{module}"
    importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    for package in ("rasterio", "geopandas"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install rrsis-jax\[geo\]"):
        importlib.import_module(name)


def test_a_written_scene_lies_where_it_was_put(image, tmp_path):
    path = tmp_path / "scene.tif"
    scenes.write_scene(path, image, "EPSG:32633", (400000.0, 5000000.0), 0.25)
    with scenes.open_scene(path) as scene:
        pixels, valid = scene.read_rows(0, len(image))
        grid = scene.own_grid
    np.testing.assert_array_equal(pixels, image)
    assert valid.all()
    assert grid.crs.to_epsg() == 32633
    assert tuple(grid.transform)[:6] == (0.25, 0.0, 400000.0, 0.0, -0.25, 5000000.0)


def test_a_palette_is_read_as_its_colours(write_scene, image):
    numbers = image[..., :1] % 16
    colours = {k: (16 * k, 255 - 16 * k, 100, 255) for k in range(16)}
    path = write_scene(numbers, nodata=7)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, colours)
    expected = np.array([colours[k] for k in range(16)], np.uint8)[numbers[..., 0]]
    pixels, valid, scene = read_all(path)
    np.testing.assert_array_equal(valid, numbers[..., 0] != 7)
    np.testing.assert_array_equal(pixels[valid], expected[valid][:, :3])
    np.testing.assert_array_equal(read_all(path, bands=(2, 2, 1))[0][..., 2], pixels[..., 0])
    with rasterio.open(path) as dataset:
        assert scene.own_grid == georeference.of_dataset(dataset)
    _, valid, _ = read_all(path, nodata=3)
    np.testing.assert_array_equal(valid, numbers[..., 0] != 3)
    resampled, _, _ = read_all(path, gsd=2.0)
    assert resampled[..., 2][resampled[..., 2] > 0].mean() == pytest.approx(100, abs=2)


def test_nodata_in_one_band_does_not_widen_the_stretch(write_scene):
    values = np.random.default_rng(0).uniform(100, 200, (60, 60, 3)).astype(np.float32)
    values[:10, :10, 1] = -9999
    _, valid, scene = read_all(write_scene(values, nodata=-9999, photometric="MINISBLACK"))
    assert scene.limits.min() > 99
    expected = np.ones((60, 60), bool)
    expected[:10, :10] = False  # a colour without its green is none
    np.testing.assert_array_equal(valid, expected)


def test_a_band_that_was_not_chosen_makes_nothing_valid(write_scene, image):
    four = np.concatenate([np.maximum(image, 1), np.full((75, 90, 1), 9, np.uint8)], axis=-1)
    four[:20, :, :3] = 0
    _, valid, _ = read_all(write_scene(four, photometric="MINISBLACK", nodata=0))
    assert not valid[:20].any()
    assert valid[20:].all()


def test_an_untagged_border_is_told_and_taken_out_when_asked(write_scene, image):
    image = np.maximum(image, 1)
    image[:12] = 0
    path = write_scene(image)
    _, valid, scene = read_all(path)
    assert valid.all()
    (note,) = scene.notes
    assert "of the outermost pixels have the value 0 in all bands and count as data" in note
    assert "add --nodata 0" in note
    _, valid, scene = read_all(path, nodata=0)
    np.testing.assert_array_equal(valid, image.any(axis=-1))
    assert scene.notes == []
    with pytest.raises(ValueError, match="nodata is 300, which pixels of uint8 cannot be"):
        read_all(path, nodata=300)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_scene_without_any_data_says_so(write_scene, dtype):
    pixels = np.zeros((2100, 1100, 3), dtype)
    path = write_scene(pixels, nodata=0)
    with pytest.raises(ValueError, match="has no pixel with data: all are nodata"):
        read_all(path)
    pixels[2050, 1051] = 7  # less than a pixel of the reduced scene
    with scenes.open_scene(write_scene(pixels, nodata=0)) as scene:
        assert scene.read_rows(2050, 2051)[1].sum() == 1


def test_a_geotransform_without_a_system_is_kept_and_told(write_scene, image):
    path = write_scene(image, crs=None)
    pixels, _, scene = read_all(path, gsd=2.0)
    np.testing.assert_array_equal(pixels, image)
    assert not scene.georeferenced
    assert scene.own_grid.transform == from_origin(400000, 5000000, 0.5, 0.5)
    (note,) = scene.notes
    assert "has a geotransform but no coordinate reference system: maps and polygons keep" in note


@pytest.mark.parametrize("zipped", ["/vsizip/{}", "/vsizip/{{{}}}"])
def test_virtual_paths_of_gdal_are_read(write_scene, image, tmp_path, zipped):
    path = write_scene(image)
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(path, "in/scene.tif")
    virtual = zipped.format(tmp_path / "scene.zip") + "/in/scene.tif"
    np.testing.assert_array_equal(read_all(virtual)[0], image)
    with pytest.raises(ValueError, match=r"absent\.tif cannot be read as an image"):
        read_all(virtual.replace("scene.tif", "absent.tif"))


def test_a_scene_on_a_server_without_ranges_is_no_scene_of_zeros(
    write_scene, image, tmp_path, monkeypatch
):
    write_scene(image)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = re.search(r"port (\d+)", server.stdout.readline())[1]
            pixels, _, _ = read_all(f"/vsicurl/http://127.0.0.1:{port}/scene.tif")
        finally:
            server.terminate()
    np.testing.assert_array_equal(pixels, image)


def test_rasterio_still_lets_faults_of_gdal_through(write_scene, image, tmp_path):
    """`georeference._gdal_error` can go in the release in which this fails."""
    path = write_scene(image)
    with pytest.raises(Exception, match=r"absent/copy\.tif") as raised:
        rasterio.shutil.copy(path, tmp_path / "absent/copy.tif", driver="COG")
    release = f"rasterio {rasterio.__version__}"
    assert isinstance(raised.value, georeference.FAULTS), (
        f"{release} raises {raised.type}: name it there"
    )
    assert not isinstance(raised.value, rasterio.errors.RasterioError), (
        f"{release} wraps GDAL's faults: take `_gdal_error` out of geospatial/georeference.py"
    )
