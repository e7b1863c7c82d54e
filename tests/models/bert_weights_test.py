import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax.traverse_util import flatten_dict

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
def text():
    """The section `model.text` of the reference's sizes."""
    config = default.get_config()
    config.model.text.update(SIZES)
    return config.model.text


def load(folder, text):
    """Returns the parameters in a folder for a text encoder of the sizes in `text`."""
    ids = jax.ShapeDtypeStruct((1, 20), jnp.int32)
    encoder = TextEncoder(**{key: text[key] for key in SIZES})
    shapes = jax.eval_shape(
        functools.partial(encoder.init, train=False), jax.random.key(0), ids, ids
    )
    params, report = bert_weights.load(str(folder), shapes["params"], text)
    assert {f"params/text_encoder/{path}" for path in flatten_dict(params, sep="/")} == {
        row.target for row in report.rows if row.target != "-"
    }
    return params


def save(model, folder, kind):
    if kind == "flax_model.msgpack":
        model.save_pretrained(folder / "torch")
        transformers.FlaxBertModel.from_pretrained(folder / "torch").save_pretrained(folder)
    else:
        model.save_pretrained(folder, safe_serialization=kind == "model.safetensors")
    assert (folder / kind).is_file()


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin", "flax_model.msgpack"])
def test_features_equal_those_of_pytorch(reference, text, tmp_path, kind):
    save(reference, tmp_path, kind)
    params = load(tmp_path, text)
    ids = np.random.default_rng(0).integers(5, 50, (3, 20)).astype(np.int32)
    mask = (np.arange(20)[None] < np.array([[3], [11], [20]])).astype(np.int32)
    encoder = TextEncoder(**SIZES)
    ours = encoder.apply({"params": params}, ids * mask, mask, train=False)
    with torch.no_grad():
        theirs = reference(torch.tensor(ids * mask), torch.tensor(mask)).last_hidden_state.numpy()
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(params))
    assert np.abs(ours - theirs).max() <= 2e-5


def test_safetensors_need_no_torch(reference, text, tmp_path, monkeypatch):
    save(reference, tmp_path, "model.safetensors")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert load(tmp_path, text).keys() == {"bert"}


def test_pytorch_files_without_torch_name_the_extra(reference, text, tmp_path, monkeypatch):
    save(reference, tmp_path, "pytorch_model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"pip install 'rrsis-jax\[torch\]'"):
        load(tmp_path, text)


def test_other_sizes_are_all_listed(reference, text, tmp_path):
    save(reference, tmp_path, "model.safetensors")
    text.hidden_size = 48
    text.vocab_size = 60
    with pytest.raises(ValueError, match="does not fit the text encoder") as caught:
        load(tmp_path, text)
    assert "hidden_size: 24 there, 48 in config.model.text" in str(caught.value)
    assert "vocab_size: 50 there, 60 in config.model.text" in str(caught.value)


def test_another_activation_is_refused(reference, text, tmp_path):
    save(reference, tmp_path, "model.safetensors")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_act": "relu"}))
    with pytest.raises(ValueError, match="hidden_act: 'relu' there"):
        load(tmp_path, text)


def test_missing_weights_are_refused_instead_of_drawn(reference, text, tmp_path):
    reference.config.save_pretrained(tmp_path)
    state_dict = dict(reference.state_dict())
    del state_dict["encoder.layer.1.output.dense.bias"]
    torch.save(state_dict, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="missing, 1") as caught:
        load(tmp_path, text)
    assert "encoder.layer.1.output.dense.bias" in str(caught.value)


def test_a_folder_without_bert_says_what_is_expected(text, tmp_path):
    with pytest.raises(ValueError, match=r"has no config\.json") as caught:
        load(tmp_path, text)
    assert 'model.text.pretrained = ""' in str(caught.value)


def test_the_first_releases_names_and_heads_are_understood(reference, text, tmp_path):
    reference.config.save_pretrained(tmp_path)
    old = {"cls.predictions.bias": torch.zeros(50)}
    for name, value in reference.state_dict().items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[f"bert.{name.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = value
    torch.save(old, tmp_path / "pytorch_model.bin")
    params = load(tmp_path, text)
    np.testing.assert_array_equal(
        params["bert"]["embeddings"]["LayerNorm"]["scale"],
        reference.embeddings.LayerNorm.weight.detach().numpy(),
    )


def test_a_damaged_flax_file_is_refused(reference, text, tmp_path):
    reference.config.save_pretrained(tmp_path)
    (tmp_path / "flax_model.msgpack").write_bytes(b"\x81\xa1")
    with pytest.raises(ValueError, match="is not a whole Flax msgpack file"):
        load(tmp_path, text)
