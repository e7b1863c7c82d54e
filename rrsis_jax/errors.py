"""Pieces of messages that several subpackages put together."""

import errno
import os

_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


def first_line(error: BaseException) -> str:
    """Returns the first line of what an exception says, else its kind, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def reason(error: Exception) -> str:
    """Returns why a library could not write: in the system's words if it quotes them, else its own.

    The libraries that write files in C++ wrap the system's words into half a page.
    """
    words = [os.strerror(number) for number in _REFUSALS]
    return next((w for w in words if w in str(error)), f"{first_line(error):.300}")


def listing(names: list[str], most: int = 5) -> str:
    """Returns the first names, separated by commas, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
