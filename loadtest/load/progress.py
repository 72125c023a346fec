"""A line now and then while a test runs: how far it is, what was answered, and the time left."""

from __future__ import annotations

import sys

import gevent
from locust.stats import RequestStats

from loadtest.load.run import Run


def tell(run: Run, stats: RequestStats) -> None:
    """Prints until the run is over; Locust's figures of the last seconds, which it rounds."""
    seconds = run.plan.seconds
    print(run.plan, file=sys.stderr)
    while True:
        gevent.sleep(max(2.0, seconds / 60))
        if run.over or run.elapsed >= seconds:
            return
        total, left = stats.total, seconds - run.elapsed
        p50, p95 = (total.get_current_response_time_percentile(share) or 0 for share in (0.5, 0.95))
        print(
            f"{run.elapsed:6.0f} of {seconds:.0f} s {total.current_rps:9.1f} req/s   p50 {p50:.0f} ms   "
            f"p95 {p95:.0f} ms   {total.num_failures} of {total.num_requests} failed   {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
