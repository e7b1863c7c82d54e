"""What breaks underneath a run: full disks, closed folders, lost files, Ctrl-C.

Each fault ends in a sentence that says what to do, and what was whole before is whole after it.
"""

import contextlib
import gc
import importlib
import os
import pathlib
import signal
import sys
import time

import numpy as np
import pytest

from rrsis_jax import io
from rrsis_jax.cli import command
from rrsis_jax.configuration import run_folder
from rrsis_jax.data import datasets, input_pipeline
from rrsis_jax.data.inputs import MAIN, ImageInput, Inputs
from rrsis_jax.data.tokenizers import wordpiece
from rrsis_jax.geospatial import mask_rasters, scenes
from rrsis_jax.models import registry
from rrsis_jax.prediction import bundle, trained_model
from rrsis_jax.training import initialization, metric_writer, train
from rrsis_jax.weights import checkpoints, state_dicts, trees, variable_folder
from tests import small_config
from tests.conftest import random_variables
from tests.disks import full_disk
from tests.stress import fuzz_images, fuzz_models, fuzz_runs, fuzz_weights
from tfds_referring import __main__ as dataset


def ended(main, kept="All is kept."):
    """Runs a command that fails; returns its exit code, or the message it ends with."""
    with pytest.raises(SystemExit) as stopped:
        command.run(main, kept)
    return stopped.value.code


def test_a_full_disk_while_saving_leaves_earlier_checkpoints_whole(tmp_path, caplog, capfd):
    folder = fuzz_runs.save_checkpoints(tmp_path / "checkpoints")
    large = fuzz_runs.small_state(4)
    large["params"]["decoder"]["kernel"] = np.random.default_rng(0).random(200_000)
    saved = checkpoints.Checkpoints(folder)

    def save():
        saved.save(4, large, {"history": []}, 0.1)
        saved.wait()

    with full_disk(100_000):
        message = ended(save)
    gc.collect()
    assert [record for record in caplog.records if "orbax" in record.pathname] == []
    assert "Traceback" not in capfd.readouterr().err
    with contextlib.suppress(checkpoints.CheckpointError):
        saved.close()
    saved = checkpoints.Checkpoints(folder)
    assert saved.steps() == [1, 2, 3][-len(saved.steps()) :]
    assert message == (
        f"Error: A checkpoint could not be written to {folder}: File too large. Whole ones there: "
        f"{', '.join(map(str, saved.steps()[::-1]))}. Make room or check the permissions, then "
        "give the same command again."
    )
    state, progress = saved.restore_latest(fuzz_runs.small_state(0))
    np.testing.assert_array_equal(
        state["params"]["decoder"]["kernel"],
        fuzz_runs.small_state(3)["params"]["decoder"]["kernel"],
    )
    assert progress["history"] == [{"step": 3}]
    saved.save(4, fuzz_runs.small_state(4), {"history": []}, 0.1)
    saved.wait()
    assert saved.steps()[-1] == 4
    saved.close()


def test_only_whole_checkpoints_are_counted_as_such(tmp_path):
    folder = fuzz_runs.save_checkpoints(tmp_path / "checkpoints")
    (folder / "3/meta/metadata").write_bytes(b"")
    with contextlib.closing(checkpoints.Checkpoints(folder)) as saved:
        reason = OSError("half a page: [No space left on device] and more")
        assert "No space left on device. Whole ones there: 2. " in str(saved._unwritten(reason))


def test_a_full_disk_while_curves_are_written_is_told_in_a_sentence(tmp_path):
    with full_disk(10):
        message = ended(lambda: metric_writer.make_writer(tmp_path))
    assert message == (
        f"Error: TensorBoard's files could not be written to {tmp_path}: File too large. Finished "
        "checkpoints are whole. Make room or check the permissions, then give the same command "
        "again."
    )


@pytest.mark.parametrize("fault", ["truncated", "emptied"])
def test_a_broken_newest_checkpoint_is_set_aside_and_the_one_before_used(tmp_path, fault):
    folder = fuzz_runs.save_checkpoints(tmp_path / "checkpoints")
    for path in (folder / "3").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2] if fault == "truncated" else b"")
    saved = checkpoints.Checkpoints(folder)
    state, _ = saved.restore_latest(fuzz_runs.small_state(0))
    assert state["step"] == 2
    assert (folder / "3.damaged").is_dir()
    assert saved.steps() == [2]
    saved.close()


def test_a_workdir_below_a_file_cannot_be(tmp_path, tiny_config):
    (tmp_path / "file").write_text("")
    message = ended(lambda: train.train(tiny_config, str(tmp_path / "file" / "run")))
    assert f"{tmp_path}/file" in message
    assert "A part of that path is a file" in message


def test_a_workdir_that_is_a_file_is_named(tmp_path, tiny_config):
    (tmp_path / "run").write_text("")
    message = ended(lambda: io.write_text(tmp_path / "run/config.json", "x"))
    assert message.startswith(f"Error: {tmp_path}/run/config.json: Not a directory. A part of that")
    message = ended(lambda: (tmp_path / "run").mkdir())
    assert message == (
        f"Error: {tmp_path}/run: File exists. A file is there already, where a folder should be. "
        "Check the path."
    )


def test_a_folder_that_may_not_be_written_to(tmp_path):
    closed, user = tmp_path / "closed", os.geteuid()
    closed.mkdir(mode=0o500)
    if user == 0:  # who may write anywhere
        os.seteuid(65534)
    try:
        message = ended(lambda: io.write_text(closed / "config.json", "x"))
    finally:
        os.seteuid(user)
    assert message.endswith(
        f"{closed}/config.json: Permission denied. Choose a folder that can be written to; then "
        "give the same command again."
    )
    assert list(closed.iterdir()) == []


def test_a_full_disk_in_the_middle_of_a_file_keeps_the_older_one(tmp_path):
    path = tmp_path / "metrics.json"
    io.write_text(path, "whole")
    with full_disk(1000):
        message = ended(lambda: io.write_text(path, "x" * 100_000))
    assert message.startswith(f"Error: {path}: File too large. Make room there")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return fuzz_runs.prepare_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.mark.parametrize("fault", ["deleted", "truncated"])
def test_a_lost_data_file_is_named(prepared, tmp_path, fault):
    builder = datasets.prepare("refsegrs/folder", str(prepared / "tfds"), str(prepared / "layout"))
    (shard,) = pathlib.Path(builder.data_path).glob("*train.array_record*")
    content = shard.read_bytes()
    words = wordpiece.train(["red car number"], 128, 6)

    def read_batch():
        source = datasets.open_split(builder, "train")
        inputs = Inputs({MAIN: ImageInput(8)}, target_size=8)
        next(input_pipeline.make_train(source, words, inputs=inputs, batch_size=2, seed=0))

    try:
        shard.unlink()
        if fault == "truncated":
            shard.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=r"cannot be read: .*Delete that folder") as error:
            read_batch()
        assert str(builder.data_path) in str(error.value)
    finally:
        shard.write_bytes(content)
    source = datasets.open_split(builder, "train")
    np.testing.assert_array_equal(source[0]["image"], fuzz_images.IMAGE)


def test_a_damaged_configuration_of_a_run_is_named(tmp_path, tiny_config):
    run_folder.save_or_check(tiny_config, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"image_size": 32', '"image_size": -32'))
    with pytest.raises(ValueError, match=r"config\.json .*\n- data.image_size is -32; it must be"):
        run_folder.load(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"config\.json is not a readable JSON file"):
        run_folder.check(tiny_config, tmp_path)


def test_a_run_of_another_version_is_read_but_not_trained_on(tmp_path, tiny_config):
    old = tiny_config.copy_and_resolve_references()
    with old.unlocked():
        old.model.fusion.retired = False
    (tmp_path / "config.json").write_text(old.to_json())
    assert run_folder.load(tmp_path).model.text.max_tokens == tiny_config.model.text.max_tokens
    with pytest.raises(ValueError, match="retired: False in the workdir, 'absent' now") as error:
        run_folder.save_or_check(tiny_config, tmp_path)
    assert "Another version of this package made the run" in str(error.value)
    assert "choose another --workdir" not in str(error.value)


# rasterio multiplies affine transforms by `*`, which affine ≥ 3 announces to deprecate.
@pytest.mark.filterwarnings("ignore:Use `@` matmul instead:PendingDeprecationWarning")
@pytest.mark.parametrize("largest", [1_000, 30_000])
def test_a_full_disk_while_maps_are_written_leaves_no_map(tmp_path, largest):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    scenes.write_scene(tmp_path / "scene.tif", pixels, "EPSG:32633", (4e5, 5e6), 0.5)
    probability = np.random.default_rng(1).random((200, 200))
    work = tmp_path / "01.img"
    work.write_bytes(mask_rasters.encode_work(probability, np.ones((200, 200), bool)).tobytes())
    mask_rasters.write_work_header(work, 200, 200)
    paths = [tmp_path / "mask.tif", tmp_path / "probability.tif"]
    with scenes.open_scene(tmp_path / "scene.tif") as scene:
        with full_disk(largest):
            message = ended(lambda: mask_rasters.write_maps(scene, work, "tree", 0.5, *paths))
        assert "Make room on the disk, then give the same command again" in message
        assert not paths[1].exists()
        mask_rasters.write_maps(scene, work, "tree", 0.5, *paths)
    found = mask_rasters.read_reduced_probability(paths[1], (200, 200))
    np.testing.assert_allclose(found, probability, atol=0.003)


def test_a_device_whose_memory_is_full_is_told_from_a_fault_of_ours():
    def fill():
        raise RuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nBufferAssignment"
        )

    assert ended(fill) == (
        "Error: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nThe memory of the device is "
        "too small. Train with model.remat=true, a larger optim.accumulate_steps or a smaller "
        "train.batch_size; predict with a smaller --batch-size."
    )
    with pytest.raises(RuntimeError, match="of ours"):
        command.run(lambda: (_ for _ in ()).throw(RuntimeError("a fault of ours")), "")


@pytest.mark.parametrize("name", ["predict", "export", "report", "compare", "weights"])
def test_ctrl_c_ends_every_command_in_a_line(name, monkeypatch, capsys):
    module = importlib.import_module(f"rrsis_jax.cli.{name}")

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "main", interrupt)
    with pytest.raises(SystemExit) as stopped:
        module.run()
    assert stopped.value.code == 130
    line = capsys.readouterr().err.strip()
    assert line.startswith("Interrupted. ")
    assert "same command" in line


@pytest.fixture
def ctrl_c():
    """Ctrl-C as at a terminal; a shell starts background jobs with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_heard_while_the_garbage_collector_runs(capsys):
    sent = []

    def callback(phase, info):
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGINT)

    def collect():
        gc.collect()  # finalizers of other tests' objects would drop it too
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(10)

    try:
        assert ended(collect) == 130
    finally:
        gc.callbacks.remove(callback)
    assert "Interrupted. All is kept." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupted(monkeypatch, place, main, after=1):
    """Sends Ctrl-C at the `after`-th call of `place`; returns exit code and what was printed."""
    module, name = place.rsplit(".", 1)
    holder = importlib.import_module(module)
    original, calls = getattr(holder, name), []

    def send(*arguments, **named):
        calls.append(name)
        if len(calls) == after:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **named)

    monkeypatch.setattr(holder, name, send)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert len(calls) >= after
    return stopped.value.code


def files_in(folder):
    """Returns all contents, but not TFDS's notes on the names of its configs."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if path.parent.name != ".config"}


def audit(folder):
    sys.argv = ["rrsis-dataset", "audit", "--manual_dir", f"{folder}/layout"]
    sys.argv += ["--output", f"{folder}/out"]
    dataset.run()


def prepare(folder):
    layout, data = str(folder / "layout"), str(folder / "out")
    command.run(lambda: datasets.prepare("refsegrs/folder", data, layout), "It is begun anew.")


def write_weights(folder):
    path = folder / "out" / "weights.safetensors"
    command.run(
        lambda: state_dicts.write_state_dict(path, fuzz_weights.WEIGHTS), "No file was written."
    )


def write_bundle(folder):
    command.run(lambda: bundle.save(fuzz_models.small_model(), folder / "out"), "No bundle.")


def write_variables(folder):
    command.run(lambda: variable_folder.save(folder / "out", fuzz_weights.VARIABLES), "No file.")


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("main", "place", "after"),
    [
        (audit, "tfds_referring.images.read_image", 9),
        (audit, "tfds_referring.audit_report.sheet", 1),
        (prepare, "tfds_referring.images.to_png", 5),
        (write_weights, "safetensors.numpy.save_file", 1),
        (write_variables, "safetensors.numpy.save", 1),
        (write_bundle, "rrsis_jax.weights.variable_folder.save", 1),
    ],
)
def test_ctrl_c_ends_in_a_line_and_leaves_nothing_half_done(
    main, place, after, tmp_path, monkeypatch, capsys
):
    (tmp_path / "layout").mkdir()
    fuzz_images.write_layout(tmp_path / "layout")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(sys, "argv", sys.argv)
    before = files_in(tmp_path)
    with monkeypatch.context() as patched:
        assert interrupted(patched, place, lambda: main(tmp_path), after) == 130
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.startswith("Interrupted. ")
    assert files_in(tmp_path) == before
    main(tmp_path)  # as if it had never been interrupted
    assert files_in(tmp_path) != before


def test_variables_of_another_model_are_refused(tmp_path, tiny_config):
    config = small_config.get_config()
    variable_folder.save(tmp_path, random_variables(registry.build(config)))
    other = registry.build(tiny_config)
    with pytest.raises(trees.OtherModelError, match=f"{tmp_path} is of another model") as error:
        initialization.load_sources((str(tmp_path),), other, other.shapes())
    assert "only in the checkpoint: batch_stats/norm/mean" in str(error.value)
    config.model.width = 8
    with pytest.raises(trees.OtherModelError, match=r"saved float32\[16\], configured float32\[8"):
        trained_model.from_weights(tmp_path, config)
