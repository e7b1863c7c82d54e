"""What all command lines share: a fault or Ctrl-C ends them in a sentence, not a stack trace."""

import contextlib
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ROOM = "Make room there, or choose another disk; then give the same command again."
_PLACE = "Choose a folder that can be written to; then give the same command again."
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EACCES: _PLACE,
    errno.EPERM: _PLACE,
    errno.EROFS: _PLACE,
    errno.EEXIST: "A file is there already, where a folder should be. Check the path.",
    errno.ENOTDIR: "A part of that path is a file, not a folder. Check the path.",
    errno.EISDIR: "That is a folder, not a file. Check the path.",
    errno.ENOENT: "Check the path.",
}

_LESS_MEMORY = (
    "The memory of the device is too small. Train with model.remat=true, a larger "
    "optim.accumulate_steps or a smaller train.batch_size; predict with a smaller --batch-size."
)


def run(main: Callable[[], None], after_interrupt: str) -> None:
    """Runs a command.

    Args:
      main: the command.
      after_interrupt: what an interruption leaves behind and how to go on, in a sentence or two.

    Raises:
      SystemExit: after a fault that a person can mend, with the message; after Ctrl-C, with 130.
    """
    try:
        with _heard_interrupts(), _quiet_callbacks():
            main()
    except OSError as error:
        sys.exit(f"Error: {explain(error)}")
    except MemoryError as error:
        sys.exit(f"Error: The memory of this machine is too small for that. {error}".rstrip())
    except (ValueError, ImportError, FloatingPointError) as error:
        sys.exit(f"Error: {error}")
    except RuntimeError as error:  # JAX has no kind of its own for a full accelerator
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        sys.exit(f"Error: {str(error).splitlines()[0]}\n{_LESS_MEMORY}")
    except KeyboardInterrupt:
        print(f"\nInterrupted. {after_interrupt}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)  # the shell's convention


@contextlib.contextmanager
def _heard_interrupts() -> Iterator[None]:
    """Sees to it that Ctrl-C is not lost where Python drops what is raised."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # a shell's `&` or `nohup`, a caller's handler
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, but not inside a callback of the garbage collector, as JAX has one.

    Such a callback drops it with a traceback; there the signal is sent again a moment later.
    """
    dropping = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code in dropping:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


@contextlib.contextmanager
def _quiet_callbacks() -> Iterator[None]:
    """Drops what tensorstore's callbacks raise after a failed save or read, one for each array.

    They come too late for orbax's event loop; the fault itself is raised as well.
    """
    before = sys.unraisablehook

    def tell(unraisable: "sys.UnraisableHookArgs") -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = before


def explain(error: OSError) -> str:
    """Returns what the operating system refused, on which file, and what to do next."""
    if error.errno not in _ADVICE:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}. {_ADVICE[error.errno]}"
