"""Weights by their address: which file is taken, what is kept of it, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants

from rrsis_jax import hub_address
from rrsis_jax.hub_address import Address
from rrsis_jax.weights import hub as client
from rrsis_jax.weights import sources, state_dicts
from tests import hub_stand_in

ONE = safetensors.numpy.save({"a": np.ones(3, np.float32)})
TWO = safetensors.numpy.save({"b": np.zeros(2, np.float32)})
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def server():
    with hub_stand_in.running() as hub:
        yield hub


@pytest.fixture
def hub(server, tmp_path):
    server.repos, server.listed, server.gated, server.asked = {}, [], set(), []
    with hub_stand_in.reached(server, tmp_path / "cache"):
        yield server


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://me/net", Address("me/net")),
        ("hf://me/net.v2@main/", Address("me/net.v2", "main")),
        ("hf://me/net@v1.0/sub/a b.pth", Address("me/net", "v1.0", "sub/a b.pth")),
    ],
)
def test_an_address_is_read(text, address):
    assert hub_address.parse(text) == address
    assert str(address) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "hf://net",
        "hf:///net",
        "hf://me/net@",
        "hf://me/net@../x",
        "hf://me/net/../../x.pth",
        "hf://me/net//etc/x.pth",
        "hf://me/net/a\\..\\x.pth",
        "hf://../net/x.pth",
    ],
)
def test_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"is no address of the .* hub; expected hf://owner/name"):
        sources.check(text)
    assert not hub_address.is_valid(text)


def test_safetensors_are_taken_before_what_is_unpickled(hub, caplog):
    files = {"model.safetensors": ONE, "pytorch_model.bin": b"never asked for", "README.md": b"#"}
    hub.repos["me/net"] = files
    source = sources.find("hf://me/net")
    assert source.record() == {
        "source": "hf://me/net",
        "commit": hub.commit("me/net"),
        "files": {"model.safetensors": sha256(ONE)},
    }
    assert list(state_dicts.read_state_dict(source.path)) == ["a"]
    assert not any("pytorch_model.bin" in asked for asked in hub.asked)
    commit = hub.commit("me/net")
    hub.repos["me/net"] = {"model.safetensors": TWO}
    hub_stand_in.forget()
    assert sources.find("hf://me/net").commit == hub.commit("me/net") != commit
    # Without a connection the branch means what it meant last, and a commit what it is.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(constants, "HF_HUB_OFFLINE", True)
        hub_stand_in.forget()
        assert list(state_dicts.read_state_dict(sources.find("hf://me/net").path)) == ["b"]
        assert sources.find("hf://me/net", commit).path == source.path
        assert "what was downloaded before is taken" in caplog.text
        with pytest.raises(ValueError, match=r"cannot be reached \(HF_HUB_OFFLINE is set\)"):
            sources.find("hf://me/net/other.pth")


def test_weights_in_several_files_are_joined(hub, tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {INDEX: json.dumps(index).encode(), "model-1.safetensors": ONE}
    files["model-2.safetensors"] = TWO
    hub.repos["me/net"] = {f"trained/{name}": data for name, data in files.items()}
    source = sources.find("hf://me/net/trained")
    assert sorted(state_dicts.read_state_dict(source.path)) == ["a", "b"]
    record = source.record()["files"]
    assert record == {f"trained/{name}": sha256(data) for name, data in files.items()}
    with pytest.raises(ValueError, match=r"holds no weights: .*there is trained/\. Name the file"):
        sources.find("hf://me/net")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/a.safetensors", "model.py", 3])
def test_an_index_names_files_beside_it(tmp_path, name):
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ValueError, match="is no index of weights: its weight_map must name files"):
        state_dicts.read_state_dict(tmp_path)


def test_a_name_that_leads_out_of_the_repository_is_refused(hub):
    hub.repos["me/net"], hub.listed = {"model.safetensors": ONE}, ["../../evil.safetensors"]
    with pytest.raises(ValueError, match=r"evil.safetensors', which would lie outside"):
        sources.find("hf://me/net/model.safetensors")


def test_a_file_that_is_not_what_the_hub_states_is_refused(hub):
    hub.repos["me/net"] = {"model.safetensors": ONE}
    path = sources.find("hf://me/net").path
    path.write_bytes(ONE[:-1] + b"x")
    hub_stand_in.forget()
    with pytest.raises(ValueError, match="is not the file that hf://me/net holds: its SHA-256"):
        sources.find("hf://me/net")


REFUSED = [
    ("hf://me/absent", "The hub has no repository me/absent, or it is private: check the name"),
    ("hf://me/gated", "is given to those only who accept its terms: do so at http.*/me/gated/tree"),
    ("hf://me/net@v9", "me/net has no revision 'v9'"),
    ("hf://me/net/absent", r"is not there\. The repository holds a\.pth, b\.pth\."),
    ("hf://me/net", r"holds several files of weights, a\.pth, b\.pth: name the one"),
]


@pytest.mark.parametrize(("address", "told"), REFUSED)
def test_what_the_hub_does_not_give_is_told(hub, address, told):
    hub.repos |= {"me/net": {"a.pth": b"1", "b.pth": b"2"}, "me/gated": {}}
    hub.gated.add("me/gated")
    with pytest.raises(ValueError, match=told):
        sources.find(address)


def test_without_a_connection_it_is_said_what_to_download(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    told = (
        r"hf://me/net@v1/a\.pth was not downloaded before and http://127.0.0.1:9 cannot be reached "
        r"\(there is no connection\): download a\.pth from http://127.0.0.1:9/me/net/tree/v1/a\.pth"
    )
    with pytest.raises(ValueError, match=told):
        sources.find("hf://me/net@v1/a.pth")


def test_a_push_holds_what_was_given_and_nothing_else(hub, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(ONE)
    files = {"README.md": b"# card", "w.safetensors": tmp_path / "w.safetensors"}
    where = client.push("me/new", files, private=True, overwrite=False)
    stored = {"README.md": b"# card", "w.safetensors": ONE}
    assert hub.repos["me/new"] == stored
    assert where == Address("me/new", hub.commit("me/new"))
    hub.asked.clear()
    assert client.push("me/new", files, private=False, overwrite=False) == where
    assert not any("commit" in asked or "upload" in asked for asked in hub.asked)

    hub.repos["me/new"] |= {"old.safetensors": TWO, ".gitattributes": b"*"}
    told = (
        r"me/new exists and holds other files, old\.safetensors: choose another name, or .*--over"
    )
    with pytest.raises(ValueError, match=told):
        client.push("me/new", files, private=False, overwrite=False)
    client.push("me/new", {**files, "README.md": b"# new"}, private=False, overwrite=True)
    assert hub.repos["me/new"] == {**stored, "README.md": b"# new", ".gitattributes": b"*"}


def test_a_token_that_may_not_write_is_told(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(ValueError, match=r"The hub refused me/new: .*Check that the token of"):
        client.push("me/new", {"a": b"1"}, private=False, overwrite=False)
