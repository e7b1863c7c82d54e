"""The first thing a process does that trains, evaluates or predicts: main.py or a notebook."""

import os
import pathlib

import jax

from rrsis_jax.terminal import quiet

_CACHE = "jax_compilation_cache_dir"
_FOLDER = pathlib.Path("~/.cache/rrsis_jax/compiled")


def start() -> None:
    """Keeps TensorFlow off the accelerators and silent, keeps compiled programs.

    Call it before anything else of this package: TensorFlow, which only reads data, takes all of
    an accelerator's memory at its first use.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quiet.held():
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.config.set_visible_devices([], "TPU")
    keep_compiled()


def keep_compiled() -> str:
    """Turns on JAX's persistent compilation cache and returns its folder.

    A folder that is set already (`JAX_COMPILATION_CACHE_DIR`) is left as it is. A damaged entry
    costs a warning and a compilation.

    For processes with a handful of programs, such as a training run: on the CPU each program,
    compiled or read back, holds hundreds to thousands of memory mappings. A Linux process may have
    65,530, and one that reads a program back beyond that is aborted by LLVM.
    """
    if not jax.config.values[_CACHE]:
        jax.config.update(_CACHE, str(_FOLDER.expanduser()))
    return jax.config.values[_CACHE]
