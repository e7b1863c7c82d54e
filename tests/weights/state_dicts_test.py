import argparse
import pickle
import sys

import numpy as np
import pytest
import torch

from rrsis_jax.weights import state_dicts

WEIGHTS = {"backbone.a": np.float32([[1, 2]]), "text_encoder.b": np.float32([3])}


class Evil:
    def __reduce__(self):
        return print, ("this code must not run",)


@pytest.mark.parametrize(
    ("apart", "sections"), [(True, {"model", "bert_model"}), (False, {"model"})]
)
def test_a_text_encoder_lies_where_the_published_code_looks_for_it(tmp_path, apart, sections):
    names = ("backbone.a", "text_encoder.b")
    weights = {name: np.ones(2, np.float32) for name in names}
    state_dicts.write_state_dict(tmp_path / "a.pth", weights, text_apart=apart)
    held = torch.load(tmp_path / "a.pth", weights_only=True)
    assert held.keys() == sections
    assert held["model"].keys() == ({"backbone.a"} if apart else set(names))
    assert state_dicts.read_state_dict(tmp_path / "a.pth").keys() == set(names)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    state_dicts.write_state_dict(path, WEIGHTS)
    read = state_dicts.read_state_dict(path)
    assert read.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(read[name], value)


def test_scalars_keep_their_shape(tmp_path):
    state_dicts.write_state_dict(tmp_path / "a.pth", {"count": np.zeros((), np.int64)})
    assert state_dicts.read_state_dict(tmp_path / "a.pth")["count"].shape == ()


def test_the_authors_checkpoints_are_unpacked(tmp_path):
    content = {
        "model": {"module.backbone.a": torch.ones(2, requires_grad=True)},
        "bert_model": {"module.b": torch.zeros(3, dtype=torch.bfloat16)},
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 39,
        "args": argparse.Namespace(lr=5e-5),
    }
    torch.save(content, tmp_path / "model_best.pth")
    read = state_dicts.read_state_dict(tmp_path / "model_best.pth")
    assert read.keys() == {"backbone.a", "text_encoder.b"}
    assert read["text_encoder.b"].dtype == np.float32


@pytest.mark.parametrize("section", ["state_dict", "module"])  # mmengine's and DeepSpeed's
def test_sections_of_other_trainers_are_unpacked_and_written(tmp_path, section):
    path = tmp_path / "a.pth"
    state_dicts.write_state_dict(path, {"backbone.a": WEIGHTS["backbone.a"]}, section)
    content = torch.load(path, weights_only=True)
    assert {key: list(value) for key, value in content.items()} == {section: ["backbone.a"]}
    torch.save({**content, "optimizer": None, "ds_version": "0.16"}, path)
    np.testing.assert_array_equal(
        state_dicts.read_state_dict(path)["backbone.a"], WEIGHTS["backbone.a"]
    )


def test_weights_that_are_there_twice_are_refused(tmp_path):
    content = {"model": {"text_encoder.b": torch.ones(1)}, "bert_model": {"b": torch.ones(1)}}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"1 weights twice, first text_encoder\.b"):
        state_dicts.read_state_dict(tmp_path / "a.pth")


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="a pickle can run any code") as caught:
        state_dicts.read_state_dict(tmp_path / "evil.pth")
    assert "print" in str(caught.value)
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ValueError, match="a pickle can run any code"):
        state_dicts.read_state_dict(tmp_path / "plain.bin")
    assert capsys.readouterr().out == ""


def test_content_without_weights_is_refused(tmp_path):
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list; expected a state dict"):
        state_dicts.read_state_dict(tmp_path / "list.pth")
    torch.save({"epoch": 1, "a": torch.ones(1)}, tmp_path / "mixed.pth")
    with pytest.raises(ValueError, match="entries that are no tensors: epoch"):
        state_dicts.read_state_dict(tmp_path / "mixed.pth")


def test_damaged_absent_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        state_dicts.read_state_dict(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"absent.pth is not a file"):
        state_dicts.read_state_dict(tmp_path / "absent.pth")
    with pytest.raises(ValueError, match=r"suffix '.h5'; weights are read and written as"):
        state_dicts.read_state_dict(tmp_path / "a.h5")


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    state_dicts.write_state_dict(tmp_path / "a.pth", WEIGHTS)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"pip install 'rrsis-jax\[torch\]'"):
        state_dicts.read_state_dict(tmp_path / "a.pth")
