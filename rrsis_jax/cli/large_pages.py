"""Large pages for malloc, without which a training step on a CPU waits for the kernel.

A step gets its buffers from the kernel and gives them back, page by page. glibc asks for large
pages if `GLIBC_TUNABLES` says so when the process starts; later it is too late. Hence the process
replaces itself, once, before anything slow is imported: same number, arguments, streams, signals.
"""

import os
import sys

KEEP = "RRSIS_KEEP_MALLOC"
"""Set this variable to anything to keep malloc as it is."""

_TUNABLES = "GLIBC_TUNABLES"
_NAME = "glibc.malloc.hugetlb"
_OLDEST = (2, 35)  # glibc that knows the name


def ask_for() -> None:
    """Replaces this process by one whose malloc asks for large pages, where that can be.

    Nothing happens on other systems than Linux with glibc, if `KEEP` is set, or if the user has
    chosen a value of `glibc.malloc.hugetlb`. Only programs may call this, before they do anything.
    """
    if sys.platform != "linux" or os.environ.get(KEEP) or not _is_known():
        return
    chosen = [part for part in os.environ.get(_TUNABLES, "").split(":") if part]
    if any(part.partition("=")[0] == _NAME for part in chosen):
        return
    environment = {**os.environ, _TUNABLES: ":".join([*chosen, f"{_NAME}=1"])}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _is_known() -> bool:
    """Returns whether the C library is a glibc that has the tunable."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _OLDEST
    except (ValueError, AttributeError, OSError):  # another C library
        return False
