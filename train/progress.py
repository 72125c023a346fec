"""How far a fit is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import operator
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY = 5.0  # seconds between lines of a log


def progress(name: str) -> Callable[[Iterator[Any], str], Iterator[Any]]:
    """What a recipe's fit wraps its loops in: `progress(iterator, what)`."""
    return lambda steps, what: (_bar if sys.stderr.isatty() else _lines)(steps, f"{name}: {what}")


def _bar(steps: Iterator[Any], label: str) -> Iterator[Any]:
    from tqdm import tqdm

    return iter(tqdm(steps, label, total=operator.length_hint(steps) or None, leave=False))


def _lines(steps: Iterator[Any], label: str) -> Iterator[Any]:
    total = operator.length_hint(steps)
    begun = printed = time.monotonic()
    for done, step in enumerate(steps):
        yield step
        if time.monotonic() - printed > EVERY:
            printed = time.monotonic()
            print(f"{label}, {done + 1}{f' of {total}' if total else ''} ({printed - begun:.0f} s)", flush=True)
