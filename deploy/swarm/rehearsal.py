"""`python -m deploy.swarm.rehearsal`: a fleet on this machine, under load, through everything that may happen to it.

A rollout, a release that does not start, a replica that is killed: what clients saw of it is printed and written into
docs/fleet.md. The engine joins a swarm of its own for as long, unless it is in one already.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.swarm.clients import Counts, clients
from deploy.swarm.fleet import Fleet, FleetError, fleet, releases

DOCUMENT = Path(__file__).parents[2] / "docs" / "fleet.md"
MARKED = re.compile(r"(?<=<!-- rehearsal -->\n).*?(?=<!-- /rehearsal -->)", re.DOTALL)


@dataclass
class Scene:
    """What happened, and what clients saw of it; `repeated` by the front."""

    what: str
    seconds: float
    counts: Counts
    repeated: int
    ended: object = None


def scene(fleet: Fleet, what: str, act: Callable[[], object]) -> Scene:
    """`act` under load, with a second of it before and after."""
    print(f"{what} …", end=" ", flush=True, file=sys.stderr)
    repeated = fleet.repeated()
    with clients(fleet.port) as counts:
        time.sleep(1)
        started = time.monotonic()
        ended = act()
        seconds = time.monotonic() - started
        time.sleep(1)
    played = Scene(what, seconds, counts, fleet.repeated() - repeated, ended)
    print(f"{seconds:.0f} s, {counts.answered} answered, {counts.lost} lost", *counts.why, sep="\n  ", file=sys.stderr)
    return played


def table(scenes: Sequence[Scene]) -> str:
    """The scenes as Markdown."""
    head = "| | seconds | answered | refused | lost | repeated by the front | slowest answer |\n|---|" + "---:|" * 6
    rows = [
        f"| {s.what} | {s.seconds:.0f} | {s.counts.answered:,} | {s.counts.refused} | {s.counts.lost} "
        f"| {s.repeated} | {s.counts.slowest:.2f} s |"
        for s in scenes
    ]
    return "\n".join([head, *rows]) + "\n"


def play(fleet: Fleet, good: str, bad: str) -> list[Scene]:
    """A rollout, a bad release, a death."""
    return [
        scene(fleet, "a rollout", lambda: fleet.roll(good)),
        scene(fleet, "a release that does not start, and its rollback", lambda: fleet.roll(bad)),
        scene(fleet, "a replica is killed", fleet.kill_one),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 if the fleet did not do what it should."""
    parser = argparse.ArgumentParser(prog="python -m deploy.swarm.rehearsal", description=__doc__)
    parser.add_argument("--image", default="ekiben:slim", help="the service's (%(default)s); make image BOX=slim")
    parser.add_argument("--front", default="haproxy:2.6", help="HAProxy's (%(default)s)")
    parser.add_argument("--port", type=int, default=3000, help="of the front (%(default)s), on every address")
    options = parser.parse_args(arguments)
    print("takes about a minute and a half", file=sys.stderr)
    try:
        with (
            releases(options.image, "ekiben-rehearsal") as tags,
            fleet(options.image, options.front, "ekiben-rehearsal", options.port) as started,
        ):
            measured = table(play(started, *tags))
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    print(measured)
    cores = f"\nTwo replicas, 8 clients, one machine with {os.cpu_count()} cores.\n"
    DOCUMENT.write_text(MARKED.sub(lambda _: measured + cores, DOCUMENT.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
