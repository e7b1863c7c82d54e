"""Folders of variables: what comes back, and what is said when nothing can."""

import jax
import numpy as np
import pytest

from rrsis_jax.weights import variable_folder
from rrsis_jax.weights.trees import CheckpointError


def test_variables_come_back_bit_for_bit(tmp_path):
    variables = {"params": {"a": {"b": np.float32([1.5, -2.0])}}, "batch_stats": {"c": np.ones(1)}}
    variable_folder.save(tmp_path / "out", variables)
    loaded = variable_folder.load(tmp_path / "out")
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)


def test_missing_and_damaged_variables_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        variable_folder.load(tmp_path)
    (tmp_path / "variables.safetensors").write_bytes(b"no such thing")
    with pytest.raises(CheckpointError, match="is damaged"):
        variable_folder.load(tmp_path)
