"""The machine that figures are from, for whoever compares them."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def processor() -> str:
    """Its model; the architecture where the system does not say."""
    cpu = Path("/proc/cpuinfo")
    models = [line for line in cpu.read_text().splitlines() if line.startswith("model name")] if cpu.exists() else []
    return models[0].partition(":")[2].strip() if models else platform.machine()


def described() -> str:
    """Processor, cores and Python in one line."""
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
