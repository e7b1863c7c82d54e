"""From a scene to a folder of maps."""

import dataclasses
import json
import pathlib
import re
import shutil

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
from PIL import Image
from rasterio.transform import from_origin

from rrsis_jax.geospatial import georeference
from rrsis_jax.prediction import scene_job
from tests.prediction.scene_maps import PHRASES, open_map

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning"
)


def test_maps_equal_the_prediction_of_the_whole_image(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image), tmp_path / "out"
    summary = scene_job.segment(stand_in, path, PHRASES, out)
    whole = stand_in.predict(image, PHRASES, tiled=True)
    for number in (1, 2):
        mask, profile, facts = open_map(out, "mask", number)
        np.testing.assert_array_equal(mask, whole.masks[number - 1])
        probability, _, scaled = open_map(out, "probability", number)
        expected = whole.probabilities[number - 1]
        np.testing.assert_allclose(probability * scaled["scale"], expected, atol=0.5 / 254 + 1e-4)
        with rasterio.open(path) as source:
            assert (profile["crs"], profile["transform"]) == (source.crs, source.transform)
        assert profile["nodata"] == 255
        assert profile["compress"] == "deflate"
        assert (facts["layout"], facts["description"]) == ("COG", PHRASES[number - 1])
    assert summary["tiles"] == summary["tiles_computed_in_last_call"] == 3 * 4
    assert summary == json.loads((out / "summary.json").read_text())
    assert not (out / "unfinished").exists()
    assert np.asarray(Image.open(out / "overlay.png")).shape[1] == 900  # enlarged ten times


@pytest.mark.parametrize("vector", ["gpkg", "geojson"])
def test_polygons_cover_the_mask(stand_in, write_scene, image, tmp_path, vector):
    out = tmp_path / "out"
    scene_job.segment(
        stand_in,
        write_scene(image),
        PHRASES,
        out,
        scene_job.Settings(vector=vector, least_area=0.0),
    )
    table = geopandas.read_file(out / f"polygons.{vector}")
    assert table.crs.to_epsg() == (32633 if vector == "gpkg" else 4326)
    assert set(table["expression"]) == set(PHRASES)
    trees = table[table["expression"] == "tree"]
    mask, profile, _ = open_map(out, "mask")
    shapes = trees.to_crs(32633).geometry
    drawn = rasterio.features.rasterize(shapes, mask.shape, transform=profile["transform"])
    np.testing.assert_array_equal(drawn, mask)
    assert trees["pixels"].sum() == mask.sum()
    # A UTM pixel at 1.25 degrees from the central meridian is 0.06 % off in area.
    np.testing.assert_allclose(trees["area_m2"], trees["pixels"] * 0.25, rtol=1e-3)
    probability, _, _ = open_map(out, "probability")
    mean = (trees["score"] * trees["pixels"]).sum() / trees["pixels"].sum()
    np.testing.assert_allclose(mean, probability[mask == 1].mean() / 254, atol=1e-6)


def test_areas_of_a_geographic_scene_are_on_the_ground(stand_in, write_scene, tmp_path):
    bright = np.full((40, 40, 3), 250, np.uint8)
    # WGS 84 at 60 degrees: 111,412 m a degree of latitude, 55,800 m one of longitude.
    path = write_scene(bright, crs="EPSG:4326", transform=from_origin(10, 60.0002, 1e-5, 1e-5))
    scene_job.segment(stand_in, path, ["tree"], tmp_path / "out")
    (area,) = geopandas.read_file(tmp_path / "out/polygons.gpkg")["area_m2"]
    np.testing.assert_allclose(area, 1600 * 1.11412 * 0.55800, rtol=1e-3)


def test_small_polygons_can_be_left_out(stand_in, write_scene, tmp_path):
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[5:8, 5:8] = pixels[20:40, 20:40] = 255  # 2.25 and 100 square metres
    settings = scene_job.Settings(least_area=5.0)
    summary = scene_job.segment(stand_in, write_scene(pixels), ["tree"], tmp_path / "out", settings)
    assert summary["expressions"][0]["polygons"] == 1
    assert open_map(tmp_path / "out", "mask")[0].sum() == 409  # the mask keeps everything


def test_places_without_data_stay_without(stand_in, write_scene, tmp_path):
    pixels = np.full((200, 90, 3), 240, np.uint8)
    pixels[40:160] = pixels[:10, :10] = 0
    out = tmp_path / "out"
    summary = scene_job.segment(stand_in, write_scene(pixels, nodata=0), ["tree"], out)
    expected = np.where(pixels[..., 0] == 0, 255, 1)
    np.testing.assert_array_equal(open_map(out, "mask")[0], expected)
    assert ((open_map(out, "probability")[0] == 255) == (expected == 255)).all()
    assert summary["tiles_computed_in_last_call"] < summary["tiles"] == 8 * 4
    assert summary["expressions"][0]["share_of_area"] == pytest.approx(1.0, abs=0.01)


def test_a_resampled_scene_comes_back_on_its_own_grid(stand_in, write_scene, tmp_path):
    pixels = np.full((80, 120, 3), 20, np.uint8)
    pixels[20:60, 40:100] = 235
    path, out = write_scene(pixels), tmp_path / "out"
    scene_job.segment(stand_in, path, ["tree"], out, scene_job.Settings(gsd=1.0))
    mask, profile, _ = open_map(out, "mask")
    assert mask.shape == (80, 120)
    with rasterio.open(path) as source:
        assert profile["transform"] == source.transform
    wrong = mask != (pixels[..., 0] > 128)
    assert not wrong[22:58, 42:98].any()
    assert wrong.mean() < 0.02  # at most the border moves, by less than a pixel of 1 m


@pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning"  # of the test's own reading and writing
)
def test_a_scene_without_georeference_works(stand_in, write_scene, image, tmp_path, caplog):
    path = write_scene(image, crs=None, transform=rasterio.Affine.identity())
    scene_job.segment(stand_in, path, ["tree"], tmp_path / "out")
    assert "has no georeference" in caplog.text
    mask, profile, _ = open_map(tmp_path / "out", "mask")
    assert profile["crs"] is None
    table = geopandas.read_file(tmp_path / "out/polygons.gpkg")
    assert table["area_m2"].isna().all()
    assert table["pixels"].sum() == mask.sum()


def test_a_scene_that_is_damaged_in_the_middle_is_named(stand_in, write_scene, image, tmp_path):
    path = write_scene(image, compress="DEFLATE")
    path.write_bytes(path.read_bytes()[:15000])
    with pytest.raises(ValueError, match=r"scene\.tif is damaged"):
        scene_job.segment(stand_in, path, ["tree"], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))


def test_results_are_replaced_only_when_asked(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image), tmp_path / "out"
    scene_job.segment(stand_in, path, ["tree"], out)
    with pytest.raises(ValueError, match=r"exists already\. Choose another --output, or add"):
        scene_job.segment(stand_in, path, ["tree"], out)
    scene_job.segment(
        stand_in, path, ["tree"], out, scene_job.Settings(overwrite=True, threshold=0.9)
    )
    assert json.loads((out / "summary.json").read_text())["settings"]["threshold"] == 0.9


def test_no_room_on_the_disk_is_said_before_work_begins(
    stand_in, write_scene, image, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"needs up to .* GB, the disk has 0\.0 GB left"):
        scene_job.segment(stand_in, write_scene(image), ["tree"], tmp_path / "out")
    assert stand_in.traces == [("encode_text", 1)]  # the expressions are checked first


def test_a_folder_that_cannot_be_written_to(stand_in, write_scene, image, tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(ValueError, match=r"out is no folder\. Choose another --output"):
        scene_job.segment(stand_in, write_scene(image), ["tree"], tmp_path / "out")


def test_an_unknown_vector_format(stand_in, write_scene, image, tmp_path):
    with pytest.raises(ValueError, match="'shp' is no vector format; choose one of gpkg, geojson"):
        scene_job.segment(
            stand_in, write_scene(image), ["tree"], tmp_path, scene_job.Settings(vector="shp")
        )


def test_nothing_is_left_beside_the_results(stand_in, write_scene, image, tmp_path):
    summary = scene_job.segment(stand_in, write_scene(image), ["tree"], tmp_path / "out")
    names = {path.name for path in pathlib.Path(tmp_path / "out").iterdir()}
    assert names == {
        summary["expressions"][0]["mask"],
        summary["expressions"][0]["probability"],
        summary["polygons"],
        summary["overlay"],
        "summary.json",
    }


ROTATED = rasterio.Affine.translation(400000, 5000000) @ rasterio.Affine.rotation(30)
TRANSFORMS = {
    "rotated": ROTATED @ rasterio.Affine.scale(0.5, -0.5),
    "sheared": rasterio.Affine(0.5, 0.2, 400000, 0.1, -0.5, 5000000),
    "south up": rasterio.Affine(0.5, 0, 400000, 0, 0.5, 5000000),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_scores_are_right_however_a_scene_lies(
    stand_in, write_scene, image, tmp_path, name, monkeypatch
):
    monkeypatch.setattr(georeference, "_CHUNK", 32)  # polygons reach over several windows
    out = tmp_path / "out"
    settings = scene_job.Settings(least_area=0.0)
    path = write_scene(image, transform=TRANSFORMS[name])
    scene_job.segment(stand_in, path, ["tree"], out, settings)
    table = geopandas.read_file(out / "polygons.gpkg")
    mask, profile, _ = open_map(out, "mask")
    assert profile["transform"].almost_equals(TRANSFORMS[name], 1e-6)
    shapes = [(outline, k) for k, outline in enumerate(table.geometry, start=1)]
    drawn = rasterio.features.rasterize(shapes, mask.shape, transform=profile["transform"])
    np.testing.assert_array_equal(drawn > 0, mask == 1)
    probability, _, _ = open_map(out, "probability")
    expected = [probability[drawn == k].mean() / 254 for k in range(1, len(table) + 1)]
    np.testing.assert_allclose(table["score"], expected, rtol=1e-9)
    assert len(table) > 5


def test_the_share_of_area_is_counted_on_the_mask(
    stand_in, write_scene, image, tmp_path, monkeypatch
):
    monkeypatch.setattr(scene_job, "_OVERLAY_SIDE", 20)  # the picture's maps are averaged a lot
    pixels = np.zeros((75, 90, 3), np.uint8)
    pixels[::5, ::5] = 255
    out = tmp_path / "out"
    (facts,) = scene_job.segment(stand_in, write_scene(pixels), ["tree"], out)["expressions"]
    mask, _, _ = open_map(out, "mask")
    assert facts["share_of_area"] == float(f"{(mask == 1).mean():.6g}")
    reduced = (
        scene_job.mask_rasters.read_reduced_probability(out / facts["probability"], (17, 20)) > 0.5
    )
    assert not reduced.any()  # so it cannot have been counted there


def test_overwriting_leaves_no_maps_of_other_expressions(
    stand_in, write_scene, image, tmp_path, monkeypatch
):
    path, out = write_scene(image), tmp_path / "out"
    settings = scene_job.Settings(vector="geojson")
    scene_job.segment(stand_in, path, PHRASES, out, settings)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        scene_job.segment(stand_in, path, ["road"], out)
    with monkeypatch.context() as patched:  # killed when maps were written already
        patched.setattr(scene_job.polygons, "write", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scene_job.segment(
                stand_in, path, ["grey road"], out, scene_job.Settings(overwrite=True)
            )
    assert (out / "01_grey_road_mask.tif").exists()
    assert not (out / "01_tree_mask.tif").exists()
    scene_job.segment(stand_in, path, ["road"], out, scene_job.Settings(overwrite=True))
    assert {path.name for path in out.iterdir()} == {
        "01_road_mask.tif",
        "01_road_probability.tif",
        "polygons.gpkg",
        "overlay.png",
        "summary.json",
        "notes.txt",
    }


def test_a_summary_that_names_files_of_others_removes_none(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image, "out.tif"), tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_text("mine")
    listed = ["../out.tif", str(path), "model.safetensors", 3, None, "", "."]
    (out / "summary.json").write_text(json.dumps({"files": listed}))
    scene_job.segment(stand_in, path, ["tree"], out, scene_job.Settings(overwrite=True))
    assert path.exists()
    assert (out / "model.safetensors").exists()


def test_geojson_needs_a_place_on_earth(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image, crs=None), tmp_path / "out"
    with pytest.raises(ValueError, match=r"GeoJSON are read as degrees.*Choose gpkg"):
        scene_job.segment(stand_in, path, ["tree"], out, scene_job.Settings(vector="geojson"))
    scene_job.segment(stand_in, path, ["tree"], out)
    table = geopandas.read_file(out / "polygons.gpkg")
    assert table.crs is None
    assert table.total_bounds.min() >= 400000 - 1  # the scene's own coordinates
    mask, profile, _ = open_map(out, "mask")
    assert profile["transform"] == from_origin(400000, 5000000, 0.5, 0.5)
    assert table["pixels"].sum() == mask.sum()


@pytest.mark.parametrize(
    ("trained", "gsd", "ratio", "told"),
    [
        (None, "model", None, "is not known .*give the side of the training's pixels in metres"),
        (1.0, None, 0.5, "reads pixels of 0.5 m and was trained on pixels of 1 m, a ratio of 0.50"),
        (1.0, "model", 0.99, "it is read at 1 m"),
    ],
)
def test_the_ratio_of_resolutions_is_told(
    stand_in, write_scene, image, tmp_path, caplog, trained, gsd, ratio, told
):
    stand_in.model = dataclasses.replace(stand_in.model, gsd=trained)
    settings = scene_job.Settings(gsd=gsd)
    summary = scene_job.segment(stand_in, write_scene(image), ["tree"], tmp_path / "out", settings)
    assert summary["resolution"]["training"] == trained
    assert summary["resolution"]["scene"] == pytest.approx(0.5, rel=1e-3)
    assert summary["resolution"]["ratio"] == (ratio and pytest.approx(ratio, rel=0.02))
    assert re.search(told, caplog.text)
    assert len(summary["notes"]) == 1
