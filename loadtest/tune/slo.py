"""The objective that a rate has to meet, as a person writes it: p99=50ms."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from loadtest.service.run import Limit

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
THRESHOLDS = Path(__file__).parents[2] / "deploy" / "thresholds.json"


def limit(text: str) -> Limit:
    """`p99=50ms`: 99 % within 50 ms. argparse.ArgumentTypeError says what is allowed."""
    match = re.fullmatch(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)", text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not match or not 0.5 <= share < 1 or not float(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: a percentile from 50 to below 100 and a time, as in p99=50ms")
    return Limit(round(share, 10), float(match[2]) * UNITS[match[3]])


def promised() -> str:
    """The service's own latency objective, from what deploy/slo.yaml generates."""
    latency = json.loads(THRESHOLDS.read_text())["service"]["latency"]
    return f"p{latency['percentile']:g}={1e3 * latency['seconds']:g}ms"


def written(limit: Limit) -> str:
    return f"p{100 * limit.percentile:g}={1e3 * limit.seconds:g}ms"
