"""What the operating system knows of this service: each worker, the process that started them, what they share.

Read when Prometheus asks, by whichever worker answers, so that requests pay nothing for it and a worker that hangs is
still seen. Each worker leaves its process id in a file beside the workers' metrics. What this system does not tell
(another's permissions, no /proc) is left out rather than given as 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import bentoml
import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

SUPERVISOR = "supervisor"
# What the supervisor counts, which exports nothing itself: how workers ended → how many.
ENDS, START_FAILED, DIED = "worker-ends.json", "start_failed", "died"
# Name → what it is, and how psutil has it. A name of a counter ends in _total.
OF_A_PROCESS: dict[str, tuple[str, Callable[[psutil.Process], float]]] = {
    "process_cpu_seconds_total": ("CPU time, user and system", lambda p: sum(p.cpu_times()[:2])),
    "process_resident_memory_bytes": ("Memory that is in RAM", lambda p: p.memory_info().rss),
    "process_open_fds": ("Open file descriptors, connections among them", lambda p: p.num_fds()),
    "process_max_fds": ("Open file descriptors at most", lambda p: p.rlimit(psutil.RLIMIT_NOFILE)[0]),
    "process_start_time_seconds": ("When it started, in seconds since 1970", lambda p: p.create_time()),
    "process_disk_read_bytes_total": ("Bytes fetched from disks", lambda p: p.io_counters().read_bytes),
    "process_disk_written_bytes_total": ("Bytes sent to disks", lambda p: p.io_counters().write_bytes),
}
OF_THE_NETWORK = {
    "ekiben_network_receive_bytes_total": ("Bytes received in this network namespace", "bytes_recv"),
    "ekiben_network_transmit_bytes_total": ("Bytes sent in this network namespace", "bytes_sent"),
}
Family = CounterMetricFamily | GaugeMetricFamily


class Resources(Collector):
    """Prometheus families of the processes, their network and the disks under them."""

    def __init__(self) -> None:
        fleet = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
        self._fleet = Path(fleet) if fleet else None  # None: this process is all there is
        if self._fleet is not None:
            index = bentoml.server_context.worker_index or 0
            (self._fleet / f"worker-{index}.pid").write_text(str(os.getpid()))

    def collect(self) -> Iterator[Family]:
        """What the processes, the network, the disks and the ended workers have taken until now."""
        processes = dict(self._processes())
        for name, (doc, read) in OF_A_PROCESS.items():
            yield family(name, doc, "process", ((label, tell(read, p)) for label, p in processes.items()))
        yield from network()
        yield from self._disks()
        yield from self._ends()

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """`worker-1`, … as far as they live, and `supervisor`."""
        if self._fleet is None:
            yield "worker-0", psutil.Process()
            return
        supervisor = os.getppid()
        yield SUPERVISOR, psutil.Process(supervisor)
        for file in sorted(self._fleet.glob("worker-*.pid")):
            with contextlib.suppress(psutil.NoSuchProcess, OSError, ValueError):
                process = psutil.Process(int(file.read_text()))
                if process.ppid() == supervisor:  # else a stranger has the number of a worker that is gone
                    yield file.stem, process

    def _ends(self) -> Iterator[Family]:
        if self._fleet is None:
            return
        ends = {START_FAILED: 0.0, DIED: 0.0}
        with contextlib.suppress(OSError, ValueError):
            ends |= json.loads((self._fleet / ENDS).read_text())
        doc = "Workers that ended and were not told to: before they were up, or after"
        yield family("ekiben_worker_ends_total", doc, "how", ends.items())

    def _disks(self) -> Iterator[Family]:
        folders = {"models": Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml")) / "models"}
        if self._fleet is not None:
            folders["metrics"] = self._fleet
        usage = {holds: shutil.disk_usage(folder) for holds, folder in folders.items() if folder.exists()}
        yield family(
            "ekiben_disk_size_bytes",
            "Size of the disk that holds the models, or the metrics of the workers",
            "holds",
            ((h, u.total) for h, u in usage.items()),
        )
        yield family(
            "ekiben_disk_free_bytes",
            "What is free of the disk that holds them",
            "holds",
            ((h, u.free) for h, u in usage.items()),
        )


def tell(read: Callable[[psutil.Process], float], process: psutil.Process) -> float | None:
    """A figure of a process; None where it has ended, or the system does not tell."""
    with contextlib.suppress(psutil.Error, AttributeError, OSError):
        return float(read(process))
    return None


def network() -> Iterator[Family]:
    """Bytes over the loopback device, and over all others: a host has as many devices as containers."""
    counters = psutil.net_io_counters(pernic=True, nowrap=False)
    loopback = {device for device in counters if device.rstrip("0123456789") == "lo"}
    for name, (doc, kind) in OF_THE_NETWORK.items():
        sums = {"loopback": 0.0, "others": 0.0}
        for device, counted in counters.items():
            sums["loopback" if device in loopback else "others"] += getattr(counted, kind)
        yield family(name, doc, "device", sums.items())


def family(name: str, doc: str, label: str, values: Iterable[tuple[str, float | None]]) -> Family:
    """A counter where the name ends in _total, else a gauge, with one label; figures that are None are left out."""
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    metric = kind(name, doc, labels=[label])
    for value, figure in values:
        if figure is not None:
            metric.add_metric([value], figure)
    return metric
