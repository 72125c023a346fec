"""python -m loadtest.load: a load on a running service, every answer checked and held against the objectives.

Each model is asked payloads that the service has drawn from training's histograms (GET /MODEL/random), or the examples
in its folder where it takes files, through the native routes, V2 in JSON and V2 in binary. By default arrivals come at
random at a rate, whether or not earlier ones are answered, and latency counts from when a request was due.

Every request carries X-Ekiben-Synthetic: 1, so that its rows are kept out of the drift watch. A service heeds that with
EKIBEN_SYNTHETIC=1, or from a key that opens synthetic; any other counts the load as traffic, and pictures that are sent
over and over set off its drift alerts.

  python -m loadtest.load                                   a minute of 50 requests/s over all models
  python -m loadtest.load --shape spike --rate 400          half of them within ten seconds
  python -m loadtest.load --clients 16                      a closed loop: sixteen who wait for their answers
  python -m loadtest.load --scenario single-stream --models iris
  python -m loadtest.load --rate 5000 --processes 4         further options are Locust's

Written to --out: load.png, load.json, seconds.csv, and Locust's own CSV files and HTML page. Exits 1 if a threshold of
deploy/thresholds.json is missed, 2 if there is nothing to test. EKIBEN_API_KEY is sent along if it is set.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from loadtest.documents import command_line
from loadtest.load.plan import Plan, PlanError, add_options

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
HEADLESS = ("--headless", "--only-summary", "--loglevel", "WARNING")


def arguments(words: list[str] | None = None) -> list[str]:
    """The command line of Locust for this one."""
    parser = command_line("loadtest.load", __doc__)
    parser.add_argument("--host", default="http://127.0.0.1:3000", help="where the service is (http://127.0.0.1:3000)")
    add_options(parser)
    options, _ = parser.parse_known_args(words)
    try:
        Plan.of(vars(options))
    except PlanError as error:
        parser.error(str(error))
    files = [f"--csv={options.out}/locust", f"--html={options.out}/locust.html", f"--json-file={options.out}/locust"]
    words = sys.argv[1:] if words is None else words
    return ["locust", "--locustfile", str(LOCUSTFILE), "--host", options.host, *HEADLESS, *files, *words]


def main() -> None:
    """Becomes Locust."""
    os.execv(sys.executable, [sys.executable, "-m", *arguments()])  # noqa: S606


if __name__ == "__main__":
    main()
