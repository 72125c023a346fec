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
from collections.abc import Sequence
from pathlib import Path

from loadtest.documents import command_line, replace_section, split_section
from loadtest.drift import report
from loadtest.drift.chance import NoReference, read_references
from loadtest.drift.rates import measure
from loadtest.progress import Progress


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options. SystemExit where there would be too few looks"""
    parser = command_line("loadtest.drift", __doc__)
    parser.add_argument("--url", default="http://localhost:3000", help="the service (http://localhost:3000)")
    parser.add_argument("--looks", type=int, default=20_000, metavar="N", help="at each quantity (20000)")
    parser.add_argument(
        "--doc",
        type=Path,
        default=Path("docs/drift.md"),
        help="file with the markers; the plot goes beside it (docs/drift.md)",
    )
    options = parser.parse_args(words)
    if options.looks < 100:
        parser.error(f"--looks {options.looks}: fewer than 100 say nothing")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """The command: 0, or 2 where the service has no references."""
    options = arguments(words)
    split_section(options.doc, "drift")
    try:
        references = read_references(options.url.rstrip("/"))
    except NoReference as error:
        print(error, file=sys.stderr)
        return 2
    with Progress(len(references)) as progress:
        models, quantities = measure(references, options.looks, progress.tell)
    picture = options.doc.with_suffix(".png")
    replace_section(options.doc, "drift", report.markdown(models, quantities, options.looks, picture.name))
    report.draw(quantities, options.looks, picture)
    print(report.conclusion(models, quantities, options.looks))
    print(f"written: {options.doc}, {picture}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
