"""The command, as a user gives it."""

import itertools
import json
import shutil
import subprocess
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
        "summary.json",
    }
    expected = live.predict(image, ["tree", "red car"])
    mask = np.asarray(Image.open(out / "02_red_car_mask.png"))
    np.testing.assert_array_equal(mask, 255 * expected.masks[1])
    with pytest.raises(ValueError, match="exists already"):
        run(picture, "--expression", "tree")
    share = json.loads((out / "summary.json").read_text())["expressions"][1]["share_of_area"]
    np.testing.assert_allclose(share, expected.masks[1].mean(), rtol=1e-5)
    run(picture, "--expression", "building", "--overwrite", "--tiled")
    assert {path.name for path in out.iterdir()} == {
        "01_building_mask.png",
        "01_building_probability.png",
        "overlay.png",
        "summary.json",
    }


@pytest.mark.parametrize(
    "flags", [("--gsd", "1"), ("--bands", "3,2,1", "--vector", "gpkg"), ("--nodata", "0")]
)
def test_a_picture_refuses_what_only_scenes_have(run, picture, flags):
    wanted = rf"picture\.png is a plain image, to which {', '.join(flags[::2])} cannot be applied"
    with pytest.raises(ValueError, match=wanted):
        run(picture, "--expression", "tree", *flags)


def test_a_transparent_picture_is_told(run, image, tmp_path, caplog):
    alpha = np.full((75, 90), 255, np.uint8)
    alpha[:15] = 0
    Image.fromarray(np.dstack([image, alpha])).save(tmp_path / "holes.png")
    out = run(tmp_path / "holes.png", "--expression", "tree")
    assert "20.0 % of the pixels of" in caplog.text
    assert "transparent; nothing is segmented there" in caplog.text
    assert not np.asarray(Image.open(out / "01_tree_mask.png"))[:15].any()


def test_an_expression_of_unread_words_is_segmented_when_asked(run, picture):
    with pytest.raises(ValueError, match="has no word of 'qqqq'"):
        run(picture, "--expression", "qqqq")
    assert (run(picture, "--expression", "qqqq", "--allow-unread") / "01_qqqq_mask.png").exists()


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


def test_an_unknown_vector_format_and_an_empty_expression(run, picture, capsys):
    for more, told in (
        (("tree", "--vector", "shp"), "argument --vector: invalid choice: 'shp'"),
        (("  ",), "argument --expression: '  ' is empty; say what to segment"),
    ):
        with pytest.raises(SystemExit):
            run(picture, "--expression", *more)
        assert told in capsys.readouterr().err


def test_the_sides_of_pixels_are_printed(run, write_scene, image, capsys):
    run(write_scene(image), "--expression", "tree", "--gsd", "0.75")
    assert (
        "Metres a pixel: 0.5 in the scene, 0.742 as the model reads it, unknown in its training; "
        "ratio of the latter two unknown."
    ) in capsys.readouterr().out


MISTAKES = [
    ("--workdir {tmp}/absent --image {tmp}/scene.tif", "holds no run"),
    ("--workdir {tmp} --image {tmp}/scene.tif", "holds no run"),
    ("--workdir {run} --image {tmp}/picture.png --gsd 2", "is a plain image"),
    ("--workdir {run} --image {tmp}/scene.tif --bands 1,2,9", "three numbers from 1 to 3"),
    ("--workdir {run} --image {tmp}/scene.tif --nodata 300", "which pixels of uint8 cannot be"),
    ("--workdir {run} --image {tmp}/scene.tif --output {tmp}/scene.tif", "is no folder"),
    ("--workdir {run} --image {tmp}/no_crs.tif --vector geojson", "GeoJSON are read as degrees"),
    ("--workdir {run} --image {tmp}/text.tif", "cannot be read as an image"),
    ("--workdir {run} --image /vsizip/{tmp}/absent.zip/a.tif", "cannot be read as an image"),
    ("--workdir {empty} --image {tmp}/scene.tif", "There is no checkpoint yet"),
    ("--bundle {tmp} --image {tmp}/picture.png", "is no complete bundle"),
    ("--bundle hf://me --image {tmp}/picture.png", "is no address of the Hugging Face hub"),
    ("--weights {tmp} --config quickstart --image {tmp}/picture.png", "holds no weights"),
    ("--weights hf://me/a/../b --config quickstart --image {tmp}/picture.png", "is no address"),
    ("--imported {tmp} --config absent --image {tmp}/picture.png", "one of the names"),
]


def test_mistakes_are_answered_without_the_slow_imports(
    workdir, write_scene, image, picture, tmp_path
):
    write_scene(image)
    write_scene(image, "no_crs.tif", crs=None)
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty").mkdir()
    shutil.copy(workdir / "config.json", tmp_path / "empty")
    names = {"run": workdir, "empty": tmp_path / "empty", "tmp": tmp_path}
    lines = [
        f"--expression tree --output {tmp_path}/out {line.format(**names)}" for line, _ in MISTAKES
    ]
    code = f"""
import sys
from rrsis_jax.cli import predict
for line in {lines!r}:
    try:
        predict.main(line.split())
    except ValueError as error:
        print(" ".join(str(error).split()))
    assert not {{"jax", "orbax", "transformers", "geopandas"}} & sys.modules.keys(), line
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(MISTAKES)
    for (line, wanted), answer in zip(MISTAKES, answers, strict=True):
        assert wanted in answer, (line, answer)
    assert not (tmp_path / "out").exists()


def test_a_missing_image(run, tmp_path):
    with pytest.raises(ValueError, match="There is no image"):
        run(tmp_path / "absent.tif", "--expression", "tree")


def test_imported_weights_need_their_config(picture, tmp_path):
    given = {"--imported": tmp_path, "--image": picture, "--expression": "tree", "--output": "out"}
    with pytest.raises(ValueError, match="--weights needs --config"):
        predict.main([str(part) for option in given.items() for part in option])
