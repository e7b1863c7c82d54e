"""Pieces of messages that several rooms put together."""


def first_line(error: Exception) -> str:
    """Returns the first line of what an exception says, else its kind, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def listing(names: list[str], most: int = 5) -> str:
    """Returns the first names, separated by commas, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
