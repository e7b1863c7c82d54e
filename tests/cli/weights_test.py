import jax
import numpy as np
import pytest

from rrsis_jax.cli import weights
from rrsis_jax.models import published
from rrsis_jax.weights import state_dicts, variable_folder

CONFIG = """
from rrsis_jax.configs import default

def get_config():
    config = default.get_config("lavt")
    config.model.vision.embed_dim = 16
    config.model.vision.depths = (2, 2, 4, 2)
    config.model.vision.num_heads = (1, 2, 4, 8)
    config.model.vision.window_size = 7
    return config
"""


@pytest.fixture
def config_file(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    return str(tmp_path / "config.py")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_import_and_export_return_the_same_weights(
    tmp_path, config_file, lavt_small, capsys, suffix
):
    source, folder, target = (str(tmp_path / name) for name in ("a" + suffix, "b", "c" + suffix))
    state_dicts.write_state_dict(source, lavt_small.state_dict)
    weights.main(["import", "--from", source, "--config", config_file, "--to", folder])
    printed = capsys.readouterr().out
    assert "backbone.norm0.weight" in printed
    assert "params/backbone/norm0/scale" in printed
    imported, _ = published.import_state_dict(lavt_small.state_dict, lavt_small.model)
    jax.tree.map(np.testing.assert_array_equal, variable_folder.load(folder), imported)

    weights.main(["export", "--from", folder, "--config", config_file, "--to", target])
    assert "index buffer" in capsys.readouterr().out
    exported = state_dicts.read_state_dict(target)
    buffers = {
        name for name in lavt_small.model.table().buffers() if not name.startswith("text_encoder.")
    }
    assert exported.keys() == lavt_small.state_dict.keys() | buffers
    for name, value in lavt_small.state_dict.items():
        np.testing.assert_array_equal(exported[name], value)


def test_a_file_that_is_no_configuration_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match=r"is not a configuration file with a function get_config"):
        weights.main(["import", "--from", "a.pth", "--config", f"{tmp_path}/empty.py", "--to", "b"])
