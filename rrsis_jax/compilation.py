"""Compiled programs are kept on disk, so that a second start need not compile again."""

import pathlib

import jax

_FOLDER = pathlib.Path("~/.cache/rrsis_jax/compiled")


def keep_compiled() -> str:
    """Turns on JAX's persistent compilation cache and returns its folder.

    A folder that is set already (`JAX_COMPILATION_CACHE_DIR`) is left as it is. A damaged entry
    costs a warning and a compilation.

    For processes with a handful of programs, such as a training run: on the CPU each program,
    compiled or read back, holds hundreds to thousands of memory mappings. A Linux process may have
    65,530, and one that reads a program back beyond that is aborted by LLVM.
    """
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(_FOLDER.expanduser()))
    return jax.config.jax_compilation_cache_dir
