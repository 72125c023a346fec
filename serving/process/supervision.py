"""The watchdog of the workers: BentoML's arbiter, made to look four times a second and to know what it sees.

BentoML 1.4 has circus look every ten seconds and start whatever is missing, for ever, and not at all in a container; a
worker that hangs is never missed. Here a dead worker is replaced at once, one that hangs is killed first, and a service
that cannot start says why and ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLException

from serving.process import metrics_dir
from serving.process.heartbeat import FAILED, FD, HOPELESS, SICK, UP, HeartbeatReceiver
from serving.process.inherited import GRPC_FD, SHARED_FD, listening_socket, shared_memory
from serving.telemetry.dead import merge_dead, move_dead
from serving.telemetry.resources import DIED, ENDS, START_FAILED

log = logging.getLogger("bentoml.ekiben")
LOOK_SECONDS = 0.25
# circus is controlled by nobody but us: with ports of its own, another process may have them by the time it listens.
OWN_WAY = {"check_delay": LOOK_SECONDS, "endpoint": "inproc://control", "pubsub_endpoint": "inproc://events"}
# Starts in a row, for each worker there should be, that may fail while none is ready.
TRIES = 3
METRICS = "PROMETHEUS_MULTIPROC_DIR"
MAX_PAUSE_SECONDS = 30.0
WORKER_ENVIRONMENT = {
    # Waiting threads of OpenMP spin by default, and take the cores that the others need to finish.
    "OMP_WAIT_POLICY": "passive",
    # glibc learns from large blocks that were freed to keep such blocks, in each thread a decoded picture's 100 MB.
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
}
# A worker that was told to end and does not is killed after this and what it may take to drain.
END_SECONDS = 20.0


def supervise(hang_seconds: float, drain_seconds: float, grpc_port: int = 0) -> None:
    """Have `bentoml serve` start its workers under a Supervisor; it asks for its arbiter by this name."""

    class Configured(Supervisor):
        hang, end, grpc = hang_seconds, drain_seconds + END_SECONDS, grpc_port

    circus.Arbiter = Configured  # type: ignore[misc]


@dataclass
class Worker:
    """What is known of a worker process.

    `silent` is counted in looks, in seconds: a clock that jumps, or a machine that stood still, ages nobody.
    """

    number: int
    metrics: Path
    silent: float = 0.0
    ready: bool = False
    ending: bool = False
    reason: str = ""


class Supervisor(circus.Arbiter):
    """Starts the workers, hears their heartbeats, and replaces those that die or hang."""

    hang: float
    end: float
    grpc: int = 0  # the port of gRPC, which all workers share; 0: none
    _grpc_socket: socket.socket | None = None

    def __init__(self, watchers: list[Any], *arguments: Any, **options: Any) -> None:
        super().__init__(watchers, *arguments, **options | OWN_WAY)
        self._heartbeats = HeartbeatReceiver()
        self._dead: list[tuple[Path, int]] = []  # whose metrics are to be merged, and where they are
        self._workers: dict[int, Worker] = {}
        self._old: list[int] = []
        self._failures = 0
        self._hopeless = ""
        self._pause = 0.0
        self._metrics = self._metrics_folder()
        self._ends = {START_FAILED: 0, DIED: 0}
        for watcher in self.watchers:
            watcher.env[METRICS] = str(self._metrics)
            watcher.respawn = True  # in a container BentoML says False
            watcher.graceful_timeout = self.end  # BentoML's is a day
            watcher.env = {**WORKER_ENVIRONMENT, **watcher.env, FD: str(self._heartbeats.fd)}
            # circus numbers them from 1, and twice as many there may be.
            watcher.env[SHARED_FD] = str(shared_memory(2 * watcher.numprocesses + 1, self._metrics))
            if self.grpc:
                watcher.env[GRPC_FD] = str(self._listen_for_grpc().fileno())
            watcher.hooks["after_reap"] = self._ended

    def _metrics_folder(self) -> Path:
        """Where the workers keep their metrics, which BentoML has chosen without a look at how full it is."""
        chosen = Path(next(watcher.env[METRICS] for watcher in self.watchers if METRICS in (watcher.env or {})))
        try:
            folder = metrics_dir.choose(chosen, sum(watcher.numprocesses for watcher in self.watchers))
        except metrics_dir.NoSpace as error:
            raise BentoMLException(str(error)) from None
        if chosen.exists() and folder != chosen:
            log.error("the disk of %s is full: metrics are kept in %s", chosen, folder)
        self.exit_stack.callback(metrics_dir.remove, folder)
        return folder

    def _make_room(self) -> None:
        """Before a worker is started whose metrics would find no room: theirs and all later ones' go elsewhere."""
        free_bytes = metrics_dir.free_bytes(self._metrics)
        if free_bytes >= metrics_dir.BYTES_PER_WORKER:
            return
        n_bytes = (len(self._workers) + 2) * metrics_dir.BYTES_PER_WORKER
        try:
            folder = metrics_dir.own_folder(n_bytes, (metrics_dir.MEMORY,))
            move_dead(self._metrics, folder)
        except (metrics_dir.NoSpace, OSError) as error:
            log.error("the disk of %s is full (%d KiB left), and %s", self._metrics, free_bytes >> 10, error)
            return
        log.error("the disk of %s is full (%d KiB left): metrics go to %s", self._metrics, free_bytes >> 10, folder)
        self.exit_stack.callback(metrics_dir.remove, folder)
        self._metrics = folder
        for watcher in self.watchers:
            watcher.env[METRICS] = str(folder)
        self._old = list(self._workers)  # any worker answers for all, so all make way for those that count there

    def _merge_dead(self) -> None:
        """Add up what workers that are gone have counted, once nobody scrapes."""
        with contextlib.suppress(OSError):  # a full disk, which may have room later
            self._dead = [dead for dead in self._dead if not merge_dead(*dead, self._metrics)]

    def _listen_for_grpc(self) -> socket.socket:
        """The socket that the workers inherit, at the address of the HTTP one."""
        if self._grpc_socket is None:
            host = next((s.host for s in self.sockets.values() if s.path is None), "127.0.0.1")
            try:
                self._grpc_socket = listening_socket(host, self.grpc)
            except OSError as error:
                where = f"{host}:{self.grpc} (EKIBEN_GRPC_PORT)"
                raise BentoMLException(f"{where} cannot be listened on: {error.strerror}") from None
            self._grpc_socket.set_inheritable(True)
        return self._grpc_socket

    def initialize(self) -> None:
        """circus': open the sockets. BentoMLException, one line, where that fails"""
        try:
            super().initialize()
        except OSError as error:
            raise BentoMLException(f"{_addresses(self)} cannot be listened on: {error.strerror}") from None

    def manage_watchers(self) -> None:
        """One look. Not a coroutine: circus drops a signal that comes while one of its coroutines is under way."""
        if self._stopping:
            return
        self._hear()
        if self._hopeless and not any(worker.ready for worker in self._workers.values()):
            return self._give_up(f"the service cannot start: {self._hopeless}")
        self.reap_processes()
        self._workers = {pid: worker for pid, worker in self._workers.items() if self._has(pid)}
        self._merge_dead()
        self._end_those_that_hang()
        self._renew()
        self._pause = max(0.0, self._pause - LOOK_SECONDS)
        for watcher in self.watchers:
            if self._failures >= TRIES * watcher.numprocesses and not any(w.ready for w in self._workers.values()):
                return self._give_up(f"no worker starts: {self._failures} tries failed, the last: {self._last}")
            if not (watcher.is_stopped() or watcher.is_stopping() or self._pause):
                self._fill(watcher)

    def reload(self, *_: Any, **__: Any) -> None:
        """SIGHUP: every worker makes way for a new one, one by one, each once the new one is up."""
        self._old = list(self._workers)

    def stop(self) -> Any:
        """End. With our hold on the sockets gone, a client whom no worker takes is refused, and not left waiting."""
        self.sockets.close_all()
        if self._grpc_socket is not None:
            self._grpc_socket.close()
        self._exclusive_running_command = None  # whatever circus is at, this comes first
        return super().stop()

    def _hear(self) -> None:
        for worker in self._workers.values():
            worker.silent += LOOK_SECONDS
        for pid, state, reason in self._heartbeats.receive():
            if pid not in self._workers:
                continue
            worker = self._workers[pid]
            worker.reason = reason
            if not worker.ending:  # one that is to end has its time, whatever it says
                worker.silent = 0.0
            if state == UP and not worker.ready:
                worker.ready, self._failures = True, 0
                log.info("worker %d (process %d) is up", worker.number, pid)
            elif state == SICK and not worker.ending:
                self._end(pid, worker, signal.SIGTERM, reason)
            elif state == FAILED:
                log.error("worker %d (process %d) cannot start: %s", worker.number, pid, reason)
            elif state == HOPELESS:
                self._hopeless = reason

    def _end_those_that_hang(self) -> None:
        for pid, worker in self._workers.items():
            if worker.ending:
                if worker.silent > self.end:
                    self._end(pid, worker, signal.SIGKILL, "it was told to end and did not")
            elif worker.ready and worker.silent > self.hang:
                self._end(pid, worker, signal.SIGKILL, f"its event loop has stood still for {self.hang:g} s")

    def _renew(self) -> None:
        self._old = [pid for pid in self._old if pid in self._workers]
        new = [worker for pid, worker in self._workers.items() if pid not in self._old]
        spare = len(self._workers) > sum(watcher.numprocesses for watcher in self.watchers)
        ending = any(worker.ending for worker in self._workers.values())
        if self._old and spare and not ending and all(worker.ready for worker in new):
            pid = self._old.pop(0)
            self._end(pid, self._workers[pid], signal.SIGTERM, "a new one takes its place", logging.INFO)

    def _has(self, pid: int) -> bool:
        return any(pid in watcher.processes for watcher in self.watchers)

    def _end(self, pid: int, worker: Worker, how: signal.Signals, reason: str, level: int = logging.ERROR) -> None:
        log.log(level, "worker %d (process %d) is ended with %s: %s", worker.number, pid, how.name, reason)
        worker.ending, worker.silent = True, 0.0
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)

    def _ended(self, process_pid: int, exit_code: int | None, **_: Any) -> bool:
        """circus has reaped a process."""
        worker = self._workers.pop(process_pid, None)
        if worker is not None:
            self._dead.append((worker.metrics, process_pid))
        if worker is None or self._stopping:
            return True
        code = exit_code or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not worker.ending:
            log.error("worker %d (process %d) is gone: %s; another is started", worker.number, process_pid, how)
        if not (worker.ready and worker.ending):
            self._count_end(DIED if worker.ready else START_FAILED)
        if not worker.ready:
            self._failures += 1
            self._last = f"{how}, {worker.reason or 'and the log above says why'}"
            self._pause = min(MAX_PAUSE_SECONDS, 2.0 ** (self._failures - 2))
        return True

    def _count_end(self, how: str) -> None:
        """For whichever worker is scraped; a disk that is full costs the count."""
        self._ends[how] += 1
        with contextlib.suppress(OSError):
            file = (self._metrics / ENDS).with_suffix(".new")
            file.write_text(json.dumps(self._ends))
            file.replace(self._metrics / ENDS)

    def _fill(self, watcher: Any) -> None:
        n_workers = watcher.numprocesses + bool(self._old)
        if len(watcher.processes) < n_workers:
            self._make_room()
        while len(watcher.processes) < n_workers and watcher.spawn_process():
            pass
        for pid, process in watcher.processes.items():
            self._workers.setdefault(pid, Worker(process.wid, self._metrics))

    def _give_up(self, words: str) -> None:
        self._exception = BentoMLException(words)
        self.stop()


def _addresses(arbiter: Supervisor) -> str:
    return " or ".join(f"{s.host}:{s.port}" for s in arbiter.sockets.values() if s.path is None)
