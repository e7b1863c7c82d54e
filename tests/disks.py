"""A disk that is full, for as long as a test wants it to be."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(largest: int):
    """No file can grow beyond `largest` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
