"""`python -m deploy.platforms`: where the locked packages install without a compiler, as a table in README.md.

For each Python and platform it asks pip, of the index that pip is set to use, for a wheel of every package that
`make serve` installs, in the version of requirements.lock and with one of its hashes; markers of the lock and of the
packages hold for that Python and platform, not for this one. It downloads no more than pip needs to read a package's
metadata, and installs nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[1]
EXTRAS = ("train", "convert")  # what make serve installs
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
NEWEST_GLIBC = 28  # 2.28, of 2018: Debian 10, RHEL 8, Ubuntu 20.04 and all later have it
TESTED = {
    ("3.11", "Linux x86-64"): "all tests",
    ("3.14", "Linux x86-64"): "all tests once, [some](tests/test_newer_python.py) always",
}
MISSING = re.compile(r"No matching distribution found for (\S+?)==")


def manylinux(machine: str) -> tuple[str, ...]:
    """The tags of wheels that a Linux with this glibc takes."""
    return tuple(f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, 4, -1)) + tuple(
        f"{name}_{machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1")
    )


@dataclass(frozen=True)
class Platform:
    """A kind of machine: how markers name it, and the tags of wheels that it takes."""

    title: str
    sys_platform: str
    system: str
    machine: str
    tags: tuple[str, ...]

    def environment(self, python: str) -> dict[str, str]:
        """The values of markers there, under CPython."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": self.sys_platform,
        }


PLATFORMS = (
    Platform("Linux x86-64", "linux", "Linux", "x86_64", manylinux("x86_64")),
    Platform("Linux aarch64", "linux", "Linux", "aarch64", manylinux("aarch64")),
    Platform("macOS arm64", "darwin", "Darwin", "arm64", ("macosx_14_0_arm64",)),  # pip takes older ones as well
)


@dataclass(frozen=True)
class Pin:
    """What the lock has of a package: its version, as `==1.0`, and the sha256 of each of its files."""

    version: str
    hashes: frozenset[str]


def locked(text: str, environment: Mapping[str, str]) -> dict[str, Pin]:
    """Name → pin, of a lock's lines whose markers hold there."""
    pins: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.partition("#")[0].split("--hash=sha256:")
        if requirement.strip() and _holds(one := Requirement(requirement), environment):
            pins[canonicalize_name(one.name)] = Pin(str(one.specifier), frozenset(map(str.strip, hashes)))
    return pins


def needed(requirements: Iterable[str], environment: Mapping[str, str], extras: Iterable[str] = ()) -> set[str]:
    """The requirements that hold there, without their markers; extras are those under which they are looked at."""
    parsed = map(Requirement, requirements)
    return {_bare(one) for one in parsed if any(_holds(one, environment, extra) for extra in ("", *extras))}


def _holds(requirement: Requirement, environment: Mapping[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})


def _bare(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return canonicalize_name(requirement.name) + extras


@dataclass(frozen=True)
class Answer:
    """What an installation there needs, and the names of packages that have no wheel, or none with the lock's hash."""

    names: frozenset[str]
    missing: frozenset[str]

    def __str__(self) -> str:
        if not self.missing:
            return f"all {len(self.names)}"
        return f"{len(self.names - self.missing)} of {len(self.names)}: no {', '.join(sorted(self.missing))}"


def ask(python: str, platform: Platform, direct: Iterable[str], lock: str) -> Answer:
    """Walk from the direct requirements to all that they need there; a package outside the lock is missing."""
    environment = platform.environment(python)
    pins = locked(lock, environment)
    todo, names, missing, seen = needed(direct, environment), set[str](), set[str](), set[str]()
    while todo:
        extras = {one.name: one.extras for one in map(Requirement, todo)}
        names |= extras.keys()
        missing |= {name for name in extras if name not in pins}
        metadata, absent = wheels(python, platform, {name: pins[name] for name in extras if name in pins})
        missing |= absent
        seen |= todo
        todo = {need for one in metadata for need in _needs(one, environment, extras)} - seen
    return Answer(frozenset(names), frozenset(missing))


def _needs(metadata: Mapping[str, Any], environment: Mapping[str, str], extras: Mapping[str, set[str]]) -> set[str]:
    return needed(metadata.get("requires_dist", ()), environment, extras[canonicalize_name(metadata["name"])])


def wheels(python: str, platform: Platform, pins: Mapping[str, Pin]) -> tuple[list[Mapping[str, Any]], set[str]]:
    """The metadata of the wheels that pip takes there, and the names of packages without one. SystemExit"""
    remaining, absent = dict(pins), set[str]()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        while remaining:
            process = subprocess.run(
                _command(python, platform, remaining, folder, report), capture_output=True, text=True
            )
            if process.returncode == 0:
                installed = json.loads(report.read_text())["install"]
                absent |= {name for one in installed if (name := _altered(one, pins))}
                return [one["metadata"] for one in installed], absent
            if (match := MISSING.search(process.stderr)) is None:
                raise SystemExit(f"pip says, of Python {python} on {platform.title}:\n{process.stderr}")
            absent.add(name := canonicalize_name(match[1]))
            del remaining[name]
    return [], absent


def _altered(item: Mapping[str, Any], pins: Mapping[str, Pin]) -> str:
    """The package's name if the lock does not have this wheel's hash; of a build like 2.13.0+cpu it has none."""
    name = canonicalize_name(item["metadata"]["name"])
    is_pinned = item["download_info"]["archive_info"]["hashes"]["sha256"] in pins[name].hashes
    return "" if is_pinned or "+" in item["metadata"]["version"] else name


def _command(python: str, platform: Platform, pins: Mapping[str, Pin], folder: str, report: Path) -> list[str]:
    where = [word for tag in platform.tags for word in ("--platform", tag)]
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run", "--no-deps"),
        *("--only-binary=:all:", "--target", folder, "--implementation", "cp", "--python-version", python, *where),
        *("--report", str(report), *(name + pin.version for name, pin in pins.items())),
    ]


def markdown(answers: Mapping[tuple[str, str], Answer]) -> str:
    """Table: a row for each Python, a column for each platform."""
    titles = [platform.title for platform in PLATFORMS]
    rows = [["Python", *titles], ["---"] * (len(titles) + 1)]
    for python in PYTHONS:
        cells = [f"{answers[python, title]}; {TESTED.get((python, title), 'no test')}" for title in titles]
        rows.append([python, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; with --write put it between the marks in README.md."""
    parser = argparse.ArgumentParser(prog="python -m deploy.platforms", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    direct = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    lock = (CHECKOUT / "requirements.lock").read_text()
    answers = {}
    for python in PYTHONS:
        for platform in PLATFORMS:
            answers[python, platform.title] = answer = ask(python, platform, direct, lock)
            print(f"Python {python}, {platform.title}: {answer}", file=sys.stderr)
    print(table := markdown(answers))
    if options.write:
        write(CHECKOUT / "README.md", table)
    return 0


def write(document: Path, table: str) -> None:
    """ValueError if the document does not hold both marks, once each."""
    before, start, rest = document.read_text().partition("<!-- platforms -->\n")
    _, end, after = rest.partition("<!-- /platforms -->")
    if not start or not end or start in after:
        raise ValueError(f"{document} must hold <!-- platforms --> and then <!-- /platforms -->, once each")
    document.write_text(f"{before}{start}{table}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
