"""`python -m tests.hostile`: a storm of hostile requests against a running service, the same for the same seed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.hostile import calls, fuzz
from tests.hostile.case import Case
from tests.hostile.storm import AT_ONCE, Tally, storm

MARK = "<!-- storm -->"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m tests.hostile",
        description="Send hostile requests, each on a connection of its own, and judge every end: a right answer, "
        "a 4xx that explains itself, or a connection closed where the client itself hung up. Exits 1 if any "
        "ended otherwise.",
        epilog="A case is made from the seed and its number alone: --first 4711 --cases 1 sends number 4711 again.",
    )
    found.add_argument("--url", default="http://127.0.0.1:3000", help="the service, on this machine (%(default)s)")
    found.add_argument("--grpc", action="store_true", help="it is the port of gRPC")
    found.add_argument("--cases", type=int, default=100_000, help="how many (%(default)s)")
    found.add_argument("--first", type=int, default=0, help="the number of the first (%(default)s)")
    found.add_argument("--seed", type=int, default=0, help="another seed, other cases (%(default)s)")
    found.add_argument("--at-once", type=int, default=AT_ONCE, help="connections at a time (%(default)s)")
    found.add_argument("--write", type=Path, metavar="FILE", help=f"put the table into this page, between two {MARK}")
    return found


def main() -> int:
    asked = parser().parse_args()
    port = urlsplit(asked.url).port
    if port is None:
        print(f"--url {asked.url} has no port", file=sys.stderr)
        return 2
    tally = Tally(asked.cases)
    try:
        make, ways = (calls.case, (calls.send, calls.CANARY)) if asked.grpc else (fuzz.case, ())
        asyncio.run(storm(port, shown(make, asked.seed, asked.first, tally), tally, asked.at_once, *ways))
    except ConnectionRefusedError:
        print(f"\n{asked.url} does not answer after {tally.done:,} cases", file=sys.stderr)
        return 1
    print(f"\r{tally}")
    if asked.write is not None:
        before, _, after = asked.write.read_text().split(MARK)
        asked.write.write_text(f"{before}{MARK}\n{tally.table}\n{MARK}{after}")
    return 1 if tally.wrong or tally.slow else 0


def shown(make: Callable[[int, int], Case], seed: int, first: int, tally: Tally) -> Iterator[Case]:
    """The cases, with progress and the time left."""
    for number in range(first, first + tally.cases):
        if number % 500 == 0 and number > first and tally.done:
            left = tally.seconds / (number - first) * (first + tally.cases - number)
            text = f"{number - first:,} of {tally.cases:,}, {tally.lost} wrong, {left:.0f} s left"
            print(f"\r{text:60}", end="", file=sys.stderr, flush=True)
        yield make(seed, number)


if __name__ == "__main__":
    sys.exit(main())
