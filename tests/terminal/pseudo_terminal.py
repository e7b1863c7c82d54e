"""Runs a program on a pseudo-terminal, as a person would."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence


class Program:
    """A program under way whose three streams are a terminal of so many columns."""

    def __init__(
        self, command: Sequence[str], columns: int, environment: Mapping[str, str] | None = None
    ):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        for name in ("COLUMNS", "LINES"):
            variables.pop(name, None)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables, close_fds=True
        )
        os.close(theirs)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                part = b""
            if not part:
                return
            self._written += part

    def written(self) -> str:
        """Returns what came until now."""
        return self._written.decode(errors="replace")

    def hang_up(self) -> None:
        """Closes the terminal under the program."""
        ours, self._ours = self._ours, os.open(os.devnull, os.O_RDONLY)
        self._stopping = True
        os.close(ours)

    def finish(self, seconds: float) -> tuple[int, str]:
        """Waits for the end; returns the exit code and all that was written."""
        try:
            code = self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(5)
            os.close(self._ours)
        return code, self.written()
