"""Accelerator programs are kept on disk, so that a second start need not compile again."""

import pathlib

import jax

_FOLDER = pathlib.Path("~/.cache/rrsis_jax/compiled")


def keep_compiled() -> str:
    """Turns on JAX's persistent compilation cache for accelerators and returns its folder.

    A folder that is set already (`JAX_COMPILATION_CACHE_DIR`) is left as it is. On the CPU nothing
    is kept: reading a kept program back was seen to abort the process (JAX 0.10.2).
    """
    if not jax.config.jax_compilation_cache_dir and jax.default_backend() != "cpu":
        jax.config.update("jax_compilation_cache_dir", str(_FOLDER.expanduser()))
    return jax.config.jax_compilation_cache_dir or ""
