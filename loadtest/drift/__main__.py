"""python -m loadtest.drift: how often the drift alerts of a running service would cry wolf, and what they would miss.

Asks the service at --url what its models were trained on (shares per bin, rows: GET /metrics), and draws hours of
traffic from the distributions that may have given such a training: unshifted ones, to count the false alarms of a PSI
above 0.2 and of one above the limit that the rules use; and shifted ones, to count what is told. Nothing is sent to
the models, nothing is timed, and the same service gives the same figures.

  make serve                                  # elsewhere
  python -m loadtest.drift                    # about three minutes; writes docs/drift.md and docs/drift.png
  python -m loadtest.drift --looks 1000       # a first look; the rates are as coarse as that
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.drift import plot, report
from loadtest.drift.rates import everything
from loadtest.drift.references import NoReference, of_service


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://localhost:3000", help="the service (http://localhost:3000)")
    parser.add_argument("--looks", type=int, default=20_000, metavar="N", help="at each quantity (20000)")
    parser.add_argument(
        "--doc",
        type=Path,
        default=Path("docs/drift.md"),
        help="file with the markers; the plot goes beside it (docs/drift.md)",
    )
    asked = parser.parse_args(given)
    if asked.looks < 100:
        parser.error(f"--looks {asked.looks}: fewer than 100 say nothing")
    return asked


class Progress:
    """A line now and then: which quantity, how many there are, how long it will take."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._begun = total, 0, time.monotonic()

    def __call__(self, what: str) -> None:
        took = time.monotonic() - self._begun
        left = f", {took / self._done * (self._total - self._done):.0f} s left" if self._done else ""
        self._done += 1
        print(f"{self._done} of {self._total}: {what}{left}", file=sys.stderr, flush=True)


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    try:
        references = of_service(asked.url.rstrip("/"))
        models, quantities = everything(references, asked.looks, Progress(len(references)))
        drawn = asked.doc.with_suffix(".png")
        report.insert(asked.doc, report.markdown(models, quantities, asked.looks, drawn.name))
    except (NoReference, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    plot.draw(quantities, asked.looks, drawn)
    print(report.conclusion(models, quantities, asked.looks))
    print(f"written: {asked.doc}, {drawn}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
