"""The command, as a user gives it."""

import itertools
import json
import sys

import numpy as np
import pytest
from PIL import Image

from rrsis_jax.cli import predict
from rrsis_jax.distributed import preemption
from rrsis_jax.prediction.predictor import Predictor

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning"
)


@pytest.fixture
def run(monkeypatch, live, workdir, tmp_path):
    """Returns a function that runs the command; the model is loaded and compiled once."""
    monkeypatch.setattr(Predictor, "from_workdir", lambda folder, batch_size: live)

    def run_command(image, *more):
        arguments = ["--workdir", workdir, "--image", image, "--output", tmp_path / "out", *more]
        predict.main([str(argument) for argument in arguments])
        return tmp_path / "out"

    return run_command


@pytest.fixture
def picture(image, tmp_path):
    Image.fromarray(image).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_a_picture_comes_back_as_pictures(run, picture, live, image):
    out = run(picture, "--expression", "tree", "--expression", "red car")
    assert {path.name for path in out.iterdir()} == {
        "01_tree_mask.png",
        "01_tree_probability.png",
        "02_red_car_mask.png",
        "02_red_car_probability.png",
        "overlay.png",
    }
    expected = live.predict(image, ["tree", "red car"])
    mask = np.asarray(Image.open(out / "02_red_car_mask.png"))
    np.testing.assert_array_equal(mask, 255 * expected.masks[1])
    with pytest.raises(ValueError, match="exists already"):
        run(picture, "--expression", "tree")
    run(picture, "--expression", "tree", "--overwrite", "--tiled")


def test_a_picture_needs_no_geo_extra(run, picture, monkeypatch):
    for name in ("rasterio", "geopandas"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("georeference", "scenes", "mask_rasters", "polygons"):
        monkeypatch.delitem(sys.modules, f"rrsis_jax.geospatial.{name}", raising=False)
    monkeypatch.delitem(sys.modules, "rrsis_jax.prediction.scene_job", raising=False)
    assert (run(picture, "--expression", "tree") / "overlay.png").exists()


def test_a_large_picture_is_warned_about(run, tmp_path, caplog):
    Image.fromarray(np.zeros((160, 64, 3), np.uint8)).save(tmp_path / "large.png")
    run(tmp_path / "large.png", "--expression", "tree")
    assert "is shrunk 5.0 times to the model's square of 32 pixels; --tiled keeps" in caplog.text


def test_a_scene_goes_on_after_ctrl_c(run, write_scene, image, monkeypatch, capsys):
    path = write_scene(image)
    times = itertools.count(1)
    with monkeypatch.context() as patched:
        patched.setattr(preemption.StopRequest, "requested", lambda self: next(times) == 5)
        with pytest.raises(SystemExit) as stopped:
            run(path, "--expression", "tree", "--gsd", "none", "--vector", "geojson")
    assert stopped.value.code == 130
    assert "Stopped after 5 of 12 tiles. Give the same command again" in capsys.readouterr().err
    out = run(path, "--expression", "tree", "--gsd", "none", "--vector", "geojson")
    assert json.loads((out / "summary.json").read_text())["tiles_computed_in_last_call"] == 7
    assert (out / "polygons.geojson").exists()


def test_settings_reach_the_scene(run, write_scene, image):
    more = ["--bands", "3,2,1", "--stretch", "1,99", "--gsd", "1.5", "--min-area", "2"]
    out = run(write_scene(image), "--expression", "tree", *more, "--threshold", "0.4")
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["bands"] == [3, 2, 1]
    assert settings["stretch"] == [1.0, 99.0]
    assert (settings["gsd"], settings["least_area"], settings["threshold"]) == (1.5, 2.0, 0.4)


@pytest.mark.parametrize(
    "wrong", [("--gsd", "-1"), ("--stretch", "90,10"), ("--bands", "red"), ("--vector", "shp")]
)
def test_wrong_options_are_refused(run, picture, wrong, capsys):
    with pytest.raises(SystemExit):
        run(picture, "--expression", "tree", *wrong)
    assert f"argument {wrong[0]}: invalid" in capsys.readouterr().err


def test_a_missing_image(run, tmp_path):
    with pytest.raises(ValueError, match="There is no image"):
        run(tmp_path / "absent.tif", "--expression", "tree")


def test_imported_weights_need_their_config(picture, tmp_path):
    given = {"--imported": tmp_path, "--image": picture, "--expression": "tree", "--output": "out"}
    with pytest.raises(ValueError, match="--imported needs --config"):
        predict.main([str(part) for option in given.items() for part in option])
