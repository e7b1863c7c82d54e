"""The compilation cache is on unless the user has chosen a folder."""

import jax
import pytest

from rrsis_jax import compilation


@pytest.fixture
def no_folder():
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_an_accelerators_programs_are_kept_below_the_home_folder(no_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compilation.keep_compiled() == str(tmp_path / ".cache/rrsis_jax/compiled")
    assert jax.config.jax_compilation_cache_dir == compilation.keep_compiled()


def test_the_users_folder_stays(no_folder, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert compilation.keep_compiled() == str(tmp_path)


def test_nothing_is_kept_on_the_cpu(no_folder):
    assert compilation.keep_compiled() == ""
    assert jax.config.jax_compilation_cache_dir is None
