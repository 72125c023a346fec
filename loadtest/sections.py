"""A part of a document that a measurement writes: what stands between <!-- name --> and <!-- /name -->."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def replace(document: Path, name: str, text: str) -> None:
    """SystemExit if the document does not hold both marks once, in this order."""
    before, after = around(document, name)
    document.write_text(f"{before}\n{text.strip()}\n{after}")


def around(document: Path, name: str) -> tuple[str, str]:
    """What stands up to the first mark and from the second on. SystemExit as `replace`, for a look before measuring"""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    written = document.read_text()
    if written.count(start) != 1 or written.count(end) != 1 or written.index(start) > written.index(end):
        raise SystemExit(f"{document} must hold {start} and then {end}, once each: the figures go in between")
    before, _, rest = written.partition(start)
    return before + start, end + rest.partition(end)[2]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
