"""Where parameters come from: given checkpoint, pretrained parts, random numbers, in this order."""

import jax
import numpy as np
import pytest

from rrsis_jax.models import registry
from rrsis_jax.training import initialization
from rrsis_jax.weights import conversion, state_dicts, variable_folder


@pytest.fixture
def scratch(tiny_config):
    """The configuration, its model and variables drawn from key 0."""
    model = registry.build_model(tiny_config.model)
    return tiny_config, model, initialization.initial_variables(tiny_config, model, key(0))


def key(seed):
    return jax.random.PRNGKey(seed)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_seed_decides(scratch):
    config, model, variables = scratch
    assert_same(initialization.initial_variables(config, model, key(0)), variables)
    other = initialization.initial_variables(config, model, key(1))
    name = ("decoder", "lavt", "classifier", "kernel")
    ours, theirs = variables["params"], other["params"]
    for part in name:
        ours, theirs = ours[part], theirs[part]
    assert np.any(ours != theirs)


def test_an_imported_folder_wins_over_random_numbers(scratch, tmp_path):
    config, model, variables = scratch
    given = jax.tree.map(lambda x: x + 1.0, variables)
    variable_folder.save(tmp_path, given)
    config.init_from = str(tmp_path)
    assert_same(initialization.initial_variables(config, model, key(1)), given)


def test_a_checkpoint_file_without_text_keeps_the_drawn_text_encoder(scratch, tmp_path):
    config, model, variables = scratch
    given = jax.tree.map(lambda x: x + 1.0, variables)
    without_text = {k: v for k, v in given["params"].items() if k != "text_encoder"}
    state_dict = conversion.export_state_dict({**given, "params": without_text}, config.model)
    path = tmp_path / "lgce.safetensors"
    state_dicts.write_state_dict(str(path), state_dict)
    config.init_from = str(path)
    found = initialization.initial_variables(config, model, key(0))
    assert_same(found["params"]["backbone"], given["params"]["backbone"])
    assert_same(found["params"]["decoder"], given["params"]["decoder"])
    assert_same(found["batch_stats"], given["batch_stats"])
    assert_same(found["params"]["text_encoder"], variables["params"]["text_encoder"])


def test_a_file_that_is_not_there_is_refused(scratch, tmp_path):
    config, model, _ = scratch
    config.init_from = str(tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        initialization.initial_variables(config, model, key(0))
