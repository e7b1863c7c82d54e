"""A scene job that is interrupted goes on, however it was stopped, and loses nothing."""

import errno
import io
import itertools
import resource
import shutil
import sys
import zipfile

import numpy as np
import pytest

from rrsis_jax.geospatial import mask_rasters
from rrsis_jax.prediction import scene_job
from tests.prediction.scene_maps import PHRASES, after, open_map

# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul instead of `[*]` mul:PendingDeprecationWarning"
)


@pytest.mark.parametrize("stops", [(1,), (4, 3), (5, 4), (12,)])
def test_an_interrupted_job_goes_on_without_doing_work_twice(
    stand_in, write_scene, image, tmp_path, stops
):
    path = write_scene(image)
    scene_job.segment(stand_in, path, PHRASES, tmp_path / "whole")
    for count in stops:
        with pytest.raises(scene_job.Interrupted, match=r"Stopped after \d+ of 12 tiles"):
            scene_job.segment(stand_in, path, PHRASES, tmp_path / "out", stop=after(count))
        assert not list((tmp_path / "out").glob("*.tif"))
    summary = scene_job.segment(stand_in, path, PHRASES, tmp_path / "out")
    assert summary["tiles_computed_in_last_call"] == 12 - sum(stops)
    for kind, number in itertools.product(("mask", "probability"), (1, 2)):
        np.testing.assert_array_equal(
            open_map(tmp_path / "out", kind, number)[0],
            open_map(tmp_path / "whole", kind, number)[0],
        )


def test_a_killed_job_repeats_at_most_a_row_of_tiles(
    stand_in, write_scene, image, tmp_path, monkeypatch
):
    path, out = write_scene(image), tmp_path / "out"
    scene_job.segment(stand_in, path, PHRASES, tmp_path / "whole")
    encode_work, calls = mask_rasters.encode_work, itertools.count(1)

    def fail(*arguments):
        if next(calls) == 4:  # the second row's second expression, its first is written already
            raise OSError(errno.ENOSPC, "No space left on device")
        return encode_work(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(mask_rasters, "encode_work", fail)
        with pytest.raises(OSError, match="No space left"):
            scene_job.segment(stand_in, path, PHRASES, out)
    summary = scene_job.segment(stand_in, path, PHRASES, out)
    assert summary["tiles_computed_in_last_call"] == 8
    for number in (1, 2):
        np.testing.assert_array_equal(
            open_map(out, "probability", number)[0],
            open_map(tmp_path / "whole", "probability", number)[0],
        )


def test_a_job_that_stopped_while_maps_were_written_goes_on(
    stand_in, write_scene, image, tmp_path, monkeypatch
):
    path, out = write_scene(image), tmp_path / "out"

    def fail(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(scene_job.polygons, "write", fail)
        with pytest.raises(OSError, match="No space left"):
            scene_job.segment(stand_in, path, ["tree"], out)
    assert (out / "01_tree_mask.tif").exists()
    summary = scene_job.segment(stand_in, path, ["tree"], out)
    assert summary["tiles_computed_in_last_call"] == 0


def test_a_damaged_unfinished_job_is_begun_anew_when_asked(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image), tmp_path / "out"
    scene_job.segment(stand_in, path, PHRASES, tmp_path / "whole")
    for name in ("02.img", "journal.npz"):
        with pytest.raises(scene_job.Interrupted):
            scene_job.segment(stand_in, path, PHRASES, out, stop=after(9))
        file = out / "unfinished" / name
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(ValueError, match=r"out is damaged: .*Start anew with --overwrite"):
            scene_job.segment(stand_in, path, PHRASES, out)
        settings = scene_job.Settings(overwrite=True)
        assert scene_job.segment(stand_in, path, PHRASES, out, settings)["tiles"] == 12
        np.testing.assert_array_equal(
            open_map(out, "probability", 2)[0], open_map(tmp_path / "whole", "probability", 2)[0]
        )
        shutil.rmtree(out)


@pytest.mark.parametrize("largest", [300, 6_000, 13_400])
def test_a_full_disk_costs_no_finished_tile(
    stand_in, write_scene, image, tmp_path, largest, monkeypatch
):
    path, out = write_scene(image), tmp_path / "out"
    # Of the tests, stderr is a file as well, and tqdm keeps its lock where a bar cannot be drawn.
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    scene_job.segment(stand_in, path, PHRASES, tmp_path / "whole")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))  # no file can become larger
    try:
        with pytest.raises(OSError, match=r"too large|Make room"):
            scene_job.segment(stand_in, path, PHRASES, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    scene_job.segment(stand_in, path, PHRASES, out)
    for kind, number in itertools.product(("mask", "probability"), (1, 2)):
        np.testing.assert_array_equal(
            open_map(out, kind, number)[0], open_map(tmp_path / "whole", kind, number)[0]
        )


def test_an_unfinished_job_is_not_mixed_with_another(stand_in, write_scene, image, tmp_path):
    path, out = write_scene(image), tmp_path / "out"
    with pytest.raises(scene_job.Interrupted):
        scene_job.segment(stand_in, path, PHRASES, out, stop=after(2))
    for expressions, settings in (
        (["tree", "grey road"], scene_job.Settings()),
        (PHRASES, scene_job.Settings(overlap=0.5)),
        (PHRASES, scene_job.Settings(bands=(3, 2, 1))),
    ):
        with pytest.raises(ValueError, match="holds an interrupted job of another image, model"):
            scene_job.segment(stand_in, path, expressions, out, settings)
    settings = scene_job.Settings(overwrite=True, overlap=0.5)
    assert scene_job.segment(stand_in, path, PHRASES, out, settings)["tiles"] == 4 * 5


def test_a_scene_in_a_virtual_file_system_goes_on_too(stand_in, write_scene, image, tmp_path):
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(write_scene(image), "scene.tif")
    virtual, out = f"/vsizip/{tmp_path}/scene.zip/scene.tif", tmp_path / "out"
    with pytest.raises(scene_job.Interrupted):
        scene_job.segment(stand_in, virtual, ["tree"], out, stop=after(3))
    summary = scene_job.segment(stand_in, virtual, ["tree"], out)
    assert summary["tiles_computed_in_last_call"] == 9
    assert summary["image"] == virtual
