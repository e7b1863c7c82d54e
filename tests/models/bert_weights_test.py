import json
import sys

import jax
import numpy as np
import pytest
import torch
import transformers

from rrsis_jax.configs import default
from rrsis_jax.models.backbones.bert import weights as bert_weights
from rrsis_jax.models.backbones.bert.network import TextEncoder

pytestmark = pytest.mark.usefixtures("optimised_programs")

SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "vocab_size": 50,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="module")
def reference():
    """PyTorch's BERT with random weights that are far from their initial values."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def config_model():
    config = default.get_config()
    config.model.text.update(SIZES)
    return config.model


def save(model, folder, kind):
    if kind == "flax_model.msgpack":
        model.save_pretrained(folder / "torch")
        transformers.FlaxBertModel.from_pretrained(folder / "torch").save_pretrained(folder)
    else:
        model.save_pretrained(folder, safe_serialization=kind == "model.safetensors")
    assert (folder / kind).is_file()


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin", "flax_model.msgpack"])
def test_features_equal_those_of_pytorch(reference, config_model, tmp_path, kind):
    save(reference, tmp_path, kind)
    params = bert_weights.load(str(tmp_path), config_model)
    ids = np.random.default_rng(0).integers(5, 50, (3, 20)).astype(np.int32)
    mask = (np.arange(20)[None] < np.array([[3], [11], [20]])).astype(np.int32)
    encoder = TextEncoder(**SIZES)
    ours = encoder.apply({"params": params}, ids * mask, mask, train=False)
    with torch.no_grad():
        theirs = reference(torch.tensor(ids * mask), torch.tensor(mask)).last_hidden_state.numpy()
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(params))
    assert np.abs(ours - theirs).max() <= 2e-5


def test_safetensors_need_no_torch(reference, config_model, tmp_path, monkeypatch):
    save(reference, tmp_path, "model.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert bert_weights.load(str(tmp_path), config_model).keys() == {"bert"}


def test_pytorch_files_without_torch_name_the_extra(reference, config_model, tmp_path, monkeypatch):
    save(reference, tmp_path, "pytorch_model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"pip install 'rrsis-jax\[torch\]'"):
        bert_weights.load(str(tmp_path), config_model)


def test_other_sizes_are_all_listed(reference, config_model, tmp_path):
    save(reference, tmp_path, "model.safetensors")
    config_model.text.hidden_size = 48
    config_model.text.vocab_size = 60
    with pytest.raises(ValueError, match="does not fit the text encoder") as caught:
        bert_weights.load(str(tmp_path), config_model)
    assert "hidden_size: 24 there, 48 in config.model.text" in str(caught.value)
    assert "vocab_size: 50 there, 60 in config.model.text" in str(caught.value)


def test_another_activation_is_refused(reference, config_model, tmp_path):
    save(reference, tmp_path, "model.safetensors")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_act": "relu"}))
    with pytest.raises(ValueError, match="hidden_act: 'relu' there"):
        bert_weights.load(str(tmp_path), config_model)


def test_missing_weights_are_refused_instead_of_drawn(reference, config_model, tmp_path):
    reference.config.save_pretrained(tmp_path)
    state_dict = dict(reference.state_dict())
    del state_dict["encoder.layer.1.output.dense.bias"]
    torch.save(state_dict, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="missing, 1") as caught:
        bert_weights.load(str(tmp_path), config_model)
    assert "encoder.layer.1.output.dense.bias" in str(caught.value)


def test_a_folder_without_bert_says_what_is_expected(config_model, tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json") as caught:
        bert_weights.load(str(tmp_path), config_model)
    assert 'model.text.pretrained = ""' in str(caught.value)


def test_the_first_releases_names_and_heads_are_understood(reference, config_model, tmp_path):
    reference.config.save_pretrained(tmp_path)
    old = {"cls.predictions.bias": torch.zeros(50)}
    for name, value in reference.state_dict().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[f"bert.{name.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = value
    torch.save(old, tmp_path / "pytorch_model.bin")
    params = bert_weights.load(str(tmp_path), config_model)
    np.testing.assert_array_equal(
        params["bert"]["embeddings"]["LayerNorm"]["scale"],
        reference.embeddings.LayerNorm.weight.detach().numpy(),
    )


def test_a_damaged_flax_file_is_refused(reference, config_model, tmp_path):
    reference.config.save_pretrained(tmp_path)
    (tmp_path / "flax_model.msgpack").write_bytes(b"\x81\xa1")
    with pytest.raises(ValueError, match="is not a whole Flax msgpack file"):
        bert_weights.load(str(tmp_path), config_model)
