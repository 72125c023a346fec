"""What the service takes of the machine: processor, memory, files, disks, network, and whether its workers live."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.page import INSTANCE, page
from deploy.dashboards.panels import GREEN, ORANGE, RED, lines, tile
from deploy.dashboards.promql import rate, total
from deploy.objectives import Slo

OF = 'instance=~"$instance"'
WORKERS = f'{OF},process=~"worker.*"'
WHO = "instance, process"
SHOWN = "{{instance}} {{process}}"


def dashboard(slo: Slo) -> Dashboard:
    """The dashboard of machines and processes."""
    rows = {
        "Now": now(slo),
        "Processor and memory": processes(),
        "Files, disks, network": files(),
        "Workers and watching": workers(),
    }
    answers = (
        "What does the service take of the machine, is a limit near, do its workers live, what does watching cost?"
    )
    return page("resources", "resources", answers, rows, (INSTANCE,), slo.runbook)


def now(slo: Slo) -> list[Any]:
    """What they take at this moment."""
    return [
        tile(
            "Uptime",
            "Since the oldest process of the replicas chosen started.",
            f"time() - min(process_start_time_seconds{{{OF}}})",
            "s",
        ),
        tile(
            "Workers alive",
            "Workers whose event loop gave a sign of life within two minutes.",
            f"count(increase(ekiben_worker_heartbeats_total{{{OF}}}[2m]) > 0) or vector(0)",
            "none",
            ((None, RED), (1.0, GREEN)),
            link=f"{slo.runbook}#workerlost",
        ),
        tile(
            "Processor",
            "Cores in use by workers and supervisors.",
            total("process_cpu_seconds_total", OF),
            "none",
        ),
        tile(
            "Memory",
            "In RAM, of workers and supervisors. Pages that processes share are counted in each.",
            f"sum(process_resident_memory_bytes{{{OF}}})",
            "bytes",
        ),
        tile(
            "Fullest file table",
            "Open file descriptors over what a process may have. Each connection is one.",
            f"max(process_open_fds{{{OF}}} / process_max_fds{{{OF}}})",
            "percentunit",
            ((None, GREEN), (0.7, ORANGE), (0.9, RED)),
        ),
        tile(
            "Least disk free",
            "Of the disks that hold the models and the workers' metrics.",
            f"min(ekiben_disk_free_bytes{{{OF}}} / ekiben_disk_size_bytes{{{OF}}})",
            "percentunit",
            ((None, RED), (0.05, ORANGE), (0.15, GREEN)),
        ),
    ]


def processes() -> list[Any]:
    """CPU and memory."""
    return [
        lines(
            "Processor by process",
            "Cores. A worker runs Python on one core at a time; above 1 are the engine's threads.",
            [(total("process_cpu_seconds_total", OF, WHO), SHOWN)],
            "none",
        ),
        lines(
            "Memory by process",
            "In RAM. After the warm-up it is flat; a slope is a leak.",
            [(f"sum by ({WHO}) (process_resident_memory_bytes{{{OF}}})", SHOWN)],
            "bytes",
        ),
    ]


def files() -> list[Any]:
    """Disks and descriptors."""
    return [
        lines(
            "Open file descriptors",
            "By process. It follows the number of connections.",
            [(f"sum by ({WHO}) (process_open_fds{{{OF}}})", SHOWN)],
            "none",
            8,
        ),
        lines(
            "Disk traffic",
            "Bytes per second that really went to or came from disks: the log, and the pages of the workers' metrics.",
            [
                (total("process_disk_read_bytes_total", OF), "read"),
                (total("process_disk_written_bytes_total", OF), "written"),
            ],
            "Bps",
            8,
        ),
        lines(
            "Network",
            "Bytes per second of the network namespace: in a container that is this service, on a host everything "
            "there. loopback is what stays on the machine.",
            [
                (total("ekiben_network_receive_bytes_total", OF, "device"), "received, {{device}}"),
                (total("ekiben_network_transmit_bytes_total", OF, "device"), "sent, {{device}}"),
            ],
            "Bps",
            8,
        ),
    ]


def workers() -> list[Any]:
    """Signs of life."""
    cost = (
        f"{total('ekiben_recording_seconds_total', OF, 'instance')}"
        f" / {total('process_cpu_seconds_total', WORKERS, 'instance')}"
    )
    return [
        lines(
            "Event loops",
            "Seconds per second that each worker's event loop turned, told once a second. 1 is well; clearly below, "
            "something holds it; 0 for two minutes is a worker lost.",
            [(rate("ekiben_worker_heartbeats_total", OF), "{{instance}} worker {{worker}}")],
            "none",
            8,
        ),
        lines(
            "Processes replaced",
            "Times that a worker or supervisor was started anew within an hour.",
            [(f"sum by ({WHO}) (resets(process_cpu_seconds_total{{{OF}}}[1h]))", SHOWN)],
            "none",
            8,
        ),
        lines(
            "Cost of watching",
            "Share of the workers' processor time that goes into binning metrics and drift. While there is little to "
            "do it is a larger share of little; what counts is its share at full load.",
            [(cost, "{{instance}}")],
            "percentunit",
            8,
        ),
    ]
