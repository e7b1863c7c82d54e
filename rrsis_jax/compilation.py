"""Compiled programs are kept on disk, so that a second start need not compile again."""

import pathlib

import jax

_FOLDER = pathlib.Path("~/.cache/rrsis_jax/compiled")


def keep_compiled() -> str:
    """Turns on JAX's persistent compilation cache and returns its folder.

    A folder that is set already (`JAX_COMPILATION_CACHE_DIR`) is left as it is.
    """
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(_FOLDER.expanduser()))
    return jax.config.jax_compilation_cache_dir
