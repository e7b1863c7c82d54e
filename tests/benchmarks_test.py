"""The benchmarks' own arithmetic, and that measuring the model needs no TensorFlow."""

import json
import signal
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
    accelerator,
    costliest,
    data_parallel,
    encoders,
    flops,
    harness,
    inference,
    liveness,
    looks,
    lowering,
    memory,
    programs,
)
from benchmarks.journal import Journal
from benchmarks.wheels import travelling_wheels
from rrsis_jax import constants
from rrsis_jax.configs import default
from rrsis_jax.models import registry
from tests import small_config
from tests.models.backbones import recordings


def test_the_programs_are_built_without_tensorflow():
    modules = "data_parallel, inference, memory, phrases, programs, startup, torch_operators, "
    modules += "train_step"
    code = f"""
import sys
from benchmarks import {modules}
from tests.conftest import make_tiny_config
programs.make_training(make_tiny_config())
print(sorted({{"tensorflow", "clu.metric_writers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_is_a_table_and_a_file(tmp_path, capsys):
    path = tmp_path / "new" / "result.json"
    arguments = harness.parser("Some benchmark.").parse_args(["--json", str(path)])
    rows = [{"case": "a", "seconds": 0.123456}, {"case": "b", "seconds": None}]
    harness.report(rows, arguments, device="cpu")
    assert capsys.readouterr().out.splitlines() == [
        "| case | seconds |",
        "| --- | --- |",
        "| a | 0.1235 |",
        "| b | unknown |",
    ]
    written = json.loads(path.read_text())
    assert written["rows"] == rows
    assert written["device"] == "cpu"
    assert written["settings"]["repeats"] == 5
    assert written["machine"]["cores"] >= 1
    assert set(harness.PACKAGES) == set(written["machine"]["versions"])


def test_warm_up_calls_are_not_timed():
    calls = []
    taken = harness.seconds(lambda: calls.append(0), repeats=3, warm_up=2)
    assert (len(calls), len(taken)) == (5, 3)
    assert harness.spread([3.0, 1.0, 2.0]) == {"seconds": 2.0, "fastest": 1.0, "slowest": 3.0}


def test_configs_are_read_from_files():
    assert harness.load_config(str(harness.DEFAULT_CONFIG)).model.vision.embed_dim == 128
    with pytest.raises(ValueError, match=r"There is no configuration no\.py"):
        harness.load_config("no.py")


def test_bytes_of_all_reduces_are_counted_from_the_program():
    hlo = """
      %x = f32[3,4]{1,0} all-reduce(%a), replica_groups={}
      ROOT %y = (f32[5]{0}, bf16[]) all-reduce(%b, %c), to_apply=%add
      %z = f32[100]{0} add(%all-reduce, %q)
    """
    assert data_parallel.all_reduced_bytes(hlo) == 3 * 4 * 4 + 5 * 4 + 2


BARE_MACHINE = """
import dataclasses
import sys
from importlib.machinery import PathFinder

ABSENT = {"tensorflow", "tensorflow_datasets", "clu", "grain", "orbax", "pytest", "torch"}

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, *others):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, *others)

sys.meta_path = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
from benchmarks import accelerator
import tests.stand_ins
accelerator.TINY = dataclasses.replace(accelerator.TINY, processes=("tests/small_config.py", 32))
sys.exit(accelerator.main(["--tiny", "--models", "tiny", "--json", sys.argv[1]]))
"""


def start_on_a_bare_machine(path):
    command = [sys.executable, "-c", BARE_MACHINE, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_run_on_a_bare_machine_goes_through_all_parts(tmp_path):
    path = tmp_path / "accelerator.json"
    with start_on_a_bare_machine(path) as running:
        said = [json.loads(line) for line in running.stdout]
    written = json.loads(path.read_text())
    assert [entry for entry in said if "failed" in entry] == []
    assert (running.returncode, written["finished"], written["results"]) == (0, True, said)
    by_part = {entry["part"]: entry for entry in said}
    left_out = {name: by_part.pop(name)["left out"] for name in ("input", "PyTorch's operators")}
    assert left_out == {
        "input": "not installed: grain, tensorflow, tensorflow_datasets",
        "PyTorch's operators": "not installed: torch",
    }
    parts = {"peak", "training step", "forward pass", "profile", "phrases", "two processes"}
    assert by_part.keys() == parts
    assert {entry.get("distributed.backend") for entry in said} == {None, "shard_map"}
    assert by_part["phrases"]["images/s"] > 0
    assert 0 < by_part["profile"]["operations"][0]["share"] <= 1
    one, other = by_part["two processes"]["backends"]
    assert one["loss of the last step"] == other["loss of the last step"]
    assert [one["backend"], other["backend"]] == ["pmap", "shard_map"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_off_leaves_what_it_had(tmp_path, number):
    path = tmp_path / "accelerator.json"
    with start_on_a_bare_machine(path) as running:
        first = json.loads(running.stdout.readline())
        running.send_signal(number)
    assert running.returncode == -number
    written = json.loads(path.read_text())
    assert written["results"][0] == first
    assert (first["part"], first["dtype"]) == ("peak", "bfloat16")
    assert first["FLOP/s"] > 0
    assert written["finished"] is False


def test_what_travels_to_a_bare_machine_is_small():
    wheels = travelling_wheels()
    names = {wheel.partition("==")[0] for wheel in wheels}
    assert {"ml-collections", "transformers", "tokenizers"} <= names
    assert not {"jax", "flax", "numpy", "tensorflow", "clu", "grain"} & names
    assert 5 < sum(wheels.values()) <= 50  # MB


@pytest.mark.parametrize(("largest", "measured"), [(False, [2, 4, 8]), (True, [2])])
def test_batches_grow_until_one_does_not_fit(tmp_path, monkeypatch, largest, measured):
    batches = []

    def measure(config, batch, repeats):
        batches.append(batch)
        if batch > 4:
            raise MemoryError("out of memory")
        return {"seconds": 0.5, "GFLOP, by hand": None, "GFLOP, traced": 1.0}

    monkeypatch.setattr(inference, "measure", measure)
    journal = Journal(tmp_path / "accelerator.json", minutes=1.0)
    shares = {"forward pass": (2, 4, 8, 16)}
    rows = accelerator.measure_speed(
        journal, accelerator.TINY, 4e9, "tiny", shares, largest=largest
    )
    assert batches == measured
    assert rows["forward pass"]["share of the measured peak"] == 0.5
    assert len(journal.failed()) == (0 if largest else 1)


def test_operations_of_a_lowered_module_are_counted_where_they_are_called():
    module = """
module @jit_step {
  func.func public @main(%arg0: tensor<8x4xf32>) -> (tensor<4x8xbf16>) {
    %0 = stablehlo.transpose %arg0, dims = [1, 0] : (tensor<8x4xf32>) -> tensor<4x8xf32>
    %1 = call @inner(%0) : (tensor<4x8xf32>) -> tensor<4x8xbf16>
    %2 = call @inner(%0) : (tensor<4x8xf32>) -> tensor<4x8xbf16>
    %3 = "stablehlo.gather"(%1, %2) <{slice_sizes = array<i64: 1>}> : (tensor<4x8xbf16>, tensor<3xi32>) -> tensor<3x8xbf16>
    return %1 : tensor<4x8xbf16>
  }
  func.func private @inner(%arg0: tensor<4x8xf32>) -> tensor<4x8xbf16> {
    %0 = stablehlo.convert %arg0 : (tensor<4x8xf32>) -> tensor<4x8xbf16>
    return %0 : tensor<4x8xbf16>
  }
}
"""  # noqa: E501
    times, sizes = lowering.count(module)
    assert times == {"transpose": 1, "convert": 2, "gather": 1}
    assert sizes == {"transpose": 128, "convert": 128, "gather": 48}


def test_a_step_is_lowered_for_a_device_that_is_not_here():
    config = small_config.get_config().unlock()
    times, _ = lowering.count(lowering.lower(config, 2, "cuda"))
    assert times["convolution"] >= 4  # two forward, their gradients


def test_a_measurement_that_fails_is_told_and_the_rest_goes_on(tmp_path):
    def fail():
        raise ValueError("out of memory\nand a long trace")

    path = tmp_path / "accelerator.json"
    journal = Journal(path, minutes=1.0)
    assert journal.measure("step", fail, batch=8) is None
    assert journal.measure("step", lambda: {"seconds": 2.0}, batch=4) == {"seconds": 2.0}
    journal.finish()
    failed, done = json.loads(path.read_text())["results"]
    assert failed["failed"] == "ValueError: out of memory"
    assert (done["seconds"], done["batch"]) == (2.0, 4)
    late = Journal(path, minutes=-1.0)
    assert late.measure("step", fail) is None
    late.finish()
    written = json.loads(path.read_text())
    assert "the time was over" in written["results"][0]["failed"]
    assert (journal.result["finished"], written["finished"]) == (True, False)


def test_bytes_of_operations_are_read_from_the_program():
    hlo = """
  %a = f32[2,3]{1,0} parameter(0)
  %b = bf16[4]{0} parameter(1)
  ROOT %fusion.1 = (f32[2,3]{1,0}, pred[8]{0}) fusion(%a, %b), kind=kLoop, calls=%a_body
"""
    assert costliest.operation_bytes(hlo)["fusion.1"] == 24 + 8 + 24 + 8


@pytest.mark.parametrize(
    ("kind", "peak"),
    [("NVIDIA H200", 989e12), ("TPU v5 lite", 197e12), ("TPU v5p", 459e12), ("cpu", None)],
)
def test_peaks_are_found_by_the_devices_kind(kind, peak):
    device = types.SimpleNamespace(device_kind=kind)
    assert flops.peak(device) == peak
    expected = "unknown" if peak is None else "50.0%"
    assert flops.utilisation((peak or 1.0) / 2, 1.0, device) == expected


def test_rematerialisation_saves_residuals(tiny_config):
    whole = memory.residual_bytes(tiny_config, 2)
    tiny_config.model.remat = True
    assert 0 < memory.residual_bytes(tiny_config, 2) < 0.9 * whole


@pytest.mark.parametrize("name", registry.names())
def test_a_batch_is_made_for_every_model(name):
    config = accelerator.load(name, accelerator.TINY)
    batch = programs.make_batch(config, 2)
    loss, _ = jax.eval_shape(memory.make_loss(config), *memory.variable_shapes(config), batch)
    assert loss.shape == ()


@pytest.mark.parametrize("stage", ["refiner", "guide"])
def test_a_batch_has_the_stored_rows_of_its_model(stage):
    config = default.get_config("dicor").unlock()
    config.data.image_size, config.model.stage = 64, stage
    batch = programs.make_batch(config, 2)
    assert batch["arrays"]["prompt"].shape == (2, 16, 16)
    assert batch["arrays"]["prompt"].dtype == np.uint8


def test_what_a_program_holds_is_counted_by_its_readers():
    def function(x):
        y = jnp.sin(x)  # 1 vector is alive
        z = jnp.cos(y)  # 2
        flat = (z * y).reshape(2, 4)  # 3; reshaped in place
        return jnp.sum(flat, axis=1)  # a result is not counted

    def counted(function, *arguments):
        return liveness.peak_bytes(jax.make_jaxpr(function)(*arguments))

    x = jnp.ones(8)
    assert counted(function, x) == 3 * 32
    assert counted(jax.jit(function), x) == 3 * 32

    def chain(x):
        return jnp.sum(jnp.sin(jnp.sin(jnp.sin(jnp.sin(x)))))

    assert counted(jax.grad(chain), x) == 6 * 32
    assert counted(jax.grad(jax.checkpoint(chain)), x) == 5 * 32


def test_the_batch_that_fits_is_the_largest():
    config = small_config.get_config()
    row = memory.fitting(config, [0.004, 0.0001], share=0.5)
    fixed = sum(memory.state_bytes(config).values())
    largest = row["batch in 0.004 GB"]
    assert fixed + memory.held_bytes(config, largest) <= 0.5 * 0.004e9
    assert fixed + memory.held_bytes(config, largest + 1) > 0.5 * 0.004e9
    assert row["batch in 0.0001 GB"] == 0


def test_the_batch_is_what_the_pipeline_delivers(tiny_config):
    batch = programs.make_batch(tiny_config, 3)
    assert batch["images"]["image"].shape == (3, 32, 32, 3)
    assert batch["target"].shape == (3, 32, 32)
    assert batch["index"].min() > constants.PADDING_INDEX
    assert (batch["text"]["attention_mask"].sum(1) >= 3).all()


def test_every_look_of_a_training_is_played_to_its_end(capfd):
    rows = looks.main(["--steps", "3", "--seconds", "0.3"])["rows"]
    assert [row["look"] for row in rows] == ["nothing", "lines", "terminal"]
    drawn = rows[2]["processor ms a step"]
    assert 0 < rows[0]["processor ms a step"] < drawn < 300
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["sam_tiny", "sam2_tiny", "siglip_tiny"])
def test_an_encoder_is_measured_beside_the_published_class(name):
    row = encoders.measure(recordings.network(name), repeats=1)
    assert row["PyTorch / JAX"] == row["PyTorch processor s"] / row["JAX processor s"] > 0


def test_an_encoder_without_a_published_class_is_named():
    with pytest.raises(ValueError, match="no class for Beit3; expected SAM, SAM 2 or SigLIP"):
        encoders.in_torch(recordings.network("beit3_tiny"))
