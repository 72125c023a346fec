"""The line from the workers to their supervisor: a pipe, so that no full disk and no clock is in between.

Every worker says once a second that its event loop turns. A worker that hears nobody at the other end has lost its
supervisor, and ends rather than hold the port.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

FD = "EKIBEN_HEARTBEAT_FD"
UP, SICK, FAILED, HOPELESS = "up", "sick", "failed", "hopeless"  # hopeless: another try would fail as well
# One write of so many bytes arrives in one piece, whoever writes beside it (POSIX: PIPE_BUF is 512 at least).
MAX_LINE_BYTES = 500
Heartbeat = tuple[int, str, str]  # process id, state, reason


class HeartbeatSender:
    """A worker's end. `send` never waits; it is silent where nobody supervises."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._fd = int(environment.get(FD, -1))

    @property
    def is_heard(self) -> bool:
        """Whether there is a supervisor to tell."""
        return self._fd >= 0

    def send(self, state: str, reason: str = "") -> bool:
        """Tell the supervisor; False if it is gone."""
        if self._fd < 0:
            return True
        words = " ".join(f"{os.getpid()} {state} {reason}".split())
        try:
            os.write(self._fd, words.encode()[:MAX_LINE_BYTES] + b"\n")
        except BlockingIOError:  # it has not listened for thousands of heartbeats
            return True
        except OSError:
            return False
        return True


class HeartbeatReceiver:
    """The supervisor's end; `fd` is what the workers inherit."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self.fd, False)
        os.set_inheritable(self.fd, True)
        self._rest = b""

    def receive(self) -> list[Heartbeat]:
        """The heartbeats since the last time."""
        try:
            data = self._rest + os.read(self._read, 2**20)
        except BlockingIOError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [_read(line) for line in lines]

    def close(self) -> None:
        """Close both ends of the pipe."""
        os.close(self._read)
        os.close(self.fd)


def _read(line: bytes) -> Heartbeat:
    pid, state, reason = (*line.decode(errors="replace").split(" ", 2), "")[:3]
    return int(pid), state, reason
