"""Libraries that write to the terminal from C++ while they are imported are heard if they fail."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_ERROR = re.compile(rb"^(?:[EF]\d{4} |.*: [EF] |.*\b(?:ERROR|FATAL)\b)")
# TensorFlow, which only reads data here, looks for accelerators and registers their libraries.
_ACCELERATORS = re.compile(
    rb"cuInit|cuda|cuDNN|cuFFT|cuBLAS|computation_placer|TensorRT|\bTPU", re.IGNORECASE
)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds back what is written to file descriptor 2; hands it on if the body fails.

    Lines of errors are handed on in any case, but for those about accelerators.
    """
    if not _is_open(2):
        yield
        return
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            for line in file:
                if failed or (_ERROR.match(line) and not _ACCELERATORS.search(line)):
                    os.write(2, line)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
