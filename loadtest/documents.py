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


@dataclass(frozen=True)
class Section:
    """What a document has between <!-- name --> and <!-- /name -->."""

    path: Path
    name: str

    def check(self) -> Section:
        """Itself, for before a long measurement. SystemExit unless both marks are there once, in this order"""
        self._around()
        return self

    def replace(self, text: str) -> None:
        """Writes a text there. SystemExit as `check`"""
        before, after = self._around()
        self.path.write_text(f"{before}\n{text.strip()}\n{after}")

    def publish(self, text: str, *others: Path) -> None:
        """Writes a text there, prints it, and says where it is, and what else was written."""
        self.replace(text)
        print(text)
        print(f"written: {', '.join(map(str, (self.path, *others)))}", file=sys.stderr)

    def _around(self) -> tuple[str, str]:
        start, end = f"<!-- {self.name} -->", f"<!-- /{self.name} -->"
        text = self.path.read_text()
        if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
            raise SystemExit(f"{self.path} must hold {start} and then {end}, once each: the figures go in between")
        before, _, rest = text.partition(start)
        return before + start, end + rest.partition(end)[2]


def add_section(parser: argparse.ArgumentParser, name: str, default: str, option: str = "--document") -> None:
    """An option for the document that the figures go into: parsed, it is a Section, which has been checked."""
    parser.add_argument(option, type=lambda path: Section(Path(path), name).check(), default=str(CHECKOUT / default),
                        help=f"what holds <!-- {name} --> and <!-- /{name} --> ({default})")  # fmt: skip


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


def conclude(promises: Sequence[Promise], load: str, caption: str, picture: Path, section: Section | None) -> int:
    """Prints the verdict; into a section it goes with the picture. 0 where every promise is kept, else 1"""
    text = verdict(promises, load, caption)
    if section:
        section.publish(f"{text}\n\n![Second by second]({picture.name})", picture)
    else:
        print(f"{text}\n\nThe same, second by second: {picture}")
    return 0 if all(promise.kept for promise in promises) else 1
