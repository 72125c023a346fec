"""Command lines, progress bars, and the documents that are written into: marked sections, tables, templates."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

CHECKOUT = Path(__file__).parents[1]
BAR = "{percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left  {postfix}"


def command_line(module: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`, whose help is the module's docstring as it is written."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(f"python -m {module}", description=doc, formatter_class=raw)


class Progress(tqdm):
    """A bar over steps, or over the seconds that everything may take, with the last step in words."""

    def __init__(self, total: float, **options: Any) -> None:
        super().__init__(total=total, bar_format=BAR, dynamic_ncols=True, **options)

    def tell(self, text: str, done: float | None = None) -> None:
        """A step has ended; `done` of the total is behind us, or one more than before."""
        self.n: float = min(self.total, self.n + 1 if done is None else done)
        self.set_postfix_str(text)


def replace_section(document: Path, name: str, text: str) -> None:
    """Puts a text between <!-- name --> and <!-- /name -->. SystemExit unless both are there once, in this order"""
    before, after = split_section(document, name)
    document.write_text(f"{before}\n{text.strip()}\n{after}")


def split_section(document: Path, name: str) -> tuple[str, str]:
    """What stands up to the first mark and from the second on; call it before a long measurement. SystemExit"""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = document.read_text()
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise SystemExit(f"{document} must hold {start} and then {end}, once each: the figures go in between")
    before, _, rest = text.partition(start)
    return before + start, end + rest.partition(end)[2]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render(template: Path, **values: Any) -> str:
    """Markdown of a Jinja template, whose filter `fmt` is Python's format()."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # which every load's generator would wait for

    environment = Environment(  # noqa: S701 - Markdown, of figures that were measured
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["fmt"] = format
    return environment.get_template(template.name).render(**values).strip()


@dataclass(frozen=True)
class Promise:
    """One line of a verdict: what a service must keep under a load, its limit, and what was measured."""

    what: str
    limit: str
    measured: str
    kept: bool


def verdict(promises: Sequence[Promise], load: str, caption: str) -> str:
    """Markdown: which load it was, which promises it broke, where that was, and a row for each promise."""
    broken = [promise.what for promise in promises if not promise.kept]
    outcome = f"Broken: {', '.join(broken)}." if broken else "Every promise is kept."
    rows = [[p.what, p.limit, p.measured, "yes" if p.kept else "**no**"] for p in promises]
    return f"{load} (open loop). {outcome} {caption}.\n\n{table(['', 'promised', 'measured', 'kept'], rows)}"


@dataclass(frozen=True)
class Place:
    """Where a verdict goes: a section of a document with a picture beside it, or only a picture in a folder."""

    section: str
    document: Path
    folder: Path
    write: bool

    @property
    def picture(self) -> Path:
        """The path of the plot."""
        return self.document.with_name(f"{self.section}.png") if self.write else self.folder / f"{self.section}.png"

    def publish(self, promises: Sequence[Promise], load: str, caption: str) -> int:
        """Prints the verdict, and writes it into the document if it shall be. 0 where every promise is kept, else 1"""
        text = verdict(promises, load, caption)
        print(text)
        if self.write:
            replace_section(self.document, self.section, f"{text}\n\n![Second by second]({self.picture.name})")
        print(f"written: {self.picture}", file=sys.stderr)
        return 0 if all(promise.kept for promise in promises) else 1
