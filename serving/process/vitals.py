"""Whether this worker does its work: its event loop turns, and no engine has held one batch for ever.

A worker whose engine hangs answers 503 in time and says so in /livez and /readyz, and its supervisor replaces it: the
engine's thread cannot be ended from within.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import numpy as np

from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.process.heartbeat import SICK, UP, HeartbeatSender
from serving.telemetry.buffers import HistogramBuffer

log = logging.getLogger("bentoml.ekiben")
BEAT_SECONDS = 1.0


class Vitals:
    """Says once a second how this process is, as long as its event loop turns."""

    def __init__(self, repository: Repository, lifecycle: Lifecycle, hang_seconds: float) -> None:
        self._repository, self._lifecycle, self._hang_seconds = repository, lifecycle, hang_seconds
        self._heartbeat = HeartbeatSender()
        self._lags = HistogramBuffer(repository.families.loop_lag)
        lifecycle.clock.start()
        self._timer = asyncio.get_running_loop().call_soon(self._beat)

    def close(self) -> None:
        """Stop looking, and stop the loop's clock."""
        self._timer.cancel()
        self._lifecycle.clock.stop()

    def _beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
        self._lags.add(np.array(self._lifecycle.clock.take_lags()))
        self._lags.flush()
        self._lifecycle.sick = sick = stuck(self._repository, self._hang_seconds)
        if not self._heartbeat.send(SICK if sick else UP, sick):
            log.error("the supervisor is gone: this worker ends")
            self.close()
            os.kill(os.getpid(), signal.SIGTERM)


def stuck(repository: Repository, seconds: float) -> str:
    """The form whose engine has held one batch for longer than that, in words; empty if there is none."""
    for served in repository.every_form():
        held = served.runner.held
        if held > seconds:
            return f"the engine of {served.stored.name} has held one batch for {held:.0f} s"
    return ""
