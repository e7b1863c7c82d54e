"""The few names at the package's root, and what importing it costs."""

import subprocess
import sys

import pytest

import rrsis_jax


def test_public_names_are_found_where_they_are_defined():
    from rrsis_jax.models.registry import build
    from rrsis_jax.prediction.predictor import Predictor

    assert rrsis_jax.build_model is build
    assert rrsis_jax.Predictor is Predictor


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        _ = rrsis_jax.segment


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("rrsis_jax", {"jax", "tensorflow", "torch"}),
        ("rrsis_jax.training.train_step", {"tensorflow", "torch", "orbax", "clu"}),
        ("rrsis_jax.models.registry", {"tensorflow", "orbax", "clu"}),
        ("tfds_refsegrs", {"jax", "rrsis_jax"}),
        ("tfds_rrsisd, tfds_risbench, tfds_uavid_ris, tfds_vdd_ris", {"jax", "pycocotools"}),
    ],
)
def test_importing_brings_nothing_unneeded(module, absent):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert absent & set(done.stdout.split()) == set()
