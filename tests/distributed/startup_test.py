"""The compilation cache is on unless the user has chosen a folder; damage to it is survived."""

import pathlib

import jax
import numpy as np
import pytest
import tensorflow as tf
from jax.experimental.compilation_cache import compilation_cache

from rrsis_jax.distributed import startup

SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def no_folder():
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_programs_are_kept_below_the_home_folder(no_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert startup.keep_compiled() == str(tmp_path / ".cache/rrsis_jax/compiled")
    assert jax.config.jax_compilation_cache_dir == startup.keep_compiled()


def test_the_users_folder_stays(no_folder, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert startup.keep_compiled() == str(tmp_path)


@pytest.fixture
def kept(no_folder, monkeypatch, tmp_path):
    """A function that runs a program afresh, and one that finds the file it is kept in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    folder = pathlib.Path(startup.keep_compiled())

    def run(factor):
        def program(x):
            return factor * x

        program.__name__ = f"times_{factor}"
        return float(jax.jit(program)(np.float32(2.0)))

    def entry(factor):
        [path] = folder.glob(f"jit_times_{factor}-*-cache")
        return path

    return run, entry


def test_a_kept_program_is_read_back(kept):
    run, entry = kept
    assert (run(3), run(5)) == (6.0, 10.0)
    entry(3).write_bytes(entry(5).read_bytes())  # nothing but reading can give the other product
    assert run(3) == 10.0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_costs_a_warning_and_a_compilation(kept, damage):
    run, entry = kept
    assert run(3) == 6.0
    whole = entry(3).read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        "empty": b"",
    }
    entry(3).write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache entry"):
        assert run(3) == 6.0


def test_tensorflow_stays_off_the_accelerators_and_says_nothing(capfd):
    startup.start()
    tf.constant(1)  # from here on TensorFlow refuses other devices
    startup.start()
    assert tf.config.get_visible_devices("GPU") == []
    assert capfd.readouterr().err == ""
