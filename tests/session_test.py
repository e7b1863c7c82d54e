"""A process shows its log, without libraries' account of files, and can be started twice."""

import logging

import absl.logging
import pytest
import tensorflow as tf

from rrsis_jax import session


@pytest.fixture
def handler():
    """absl's handler; the log is as before when the test is over."""
    root, verbosity = logging.getLogger(), absl.logging.get_verbosity()
    handlers, filters = root.handlers[:], absl.logging.get_absl_handler().filters[:]
    yield absl.logging.get_absl_handler()
    root.handlers[:], absl.logging.get_absl_handler().filters[:] = handlers, filters
    absl.logging.set_verbosity(verbosity)


def record(level, path):
    return logging.LogRecord("absl", level, path, 1, "text", None, None)


def test_the_log_is_shown_without_what_libraries_tell_of_files(handler):
    session.start()
    tf.constant(1)  # from here on TensorFlow refuses other devices
    session.start()
    assert handler in logging.getLogger().handlers
    assert absl.logging.get_verbosity() == absl.logging.INFO
    shown = [
        bool(handler.filter(record(level, path)))
        for level in (logging.INFO, logging.WARNING)
        for path in ("/orbax/a.py", "/tensorflow_datasets/core/b.py", "/rrsis_jax/train.py")
    ]
    assert shown == [False, False, True, True, True, True]
