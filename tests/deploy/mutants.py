"""Mutants of the generated rules: every number and every duration, one at a time, and whether a test notices."""

import copy
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from deploy.objectives import UNITS, read, seconds
from tests.deploy.conftest import DEPLOY, run, tool

PROMETHEUS = DEPLOY / "prometheus"
# A number, with its unit if it is a duration; digits within names, as of rate5m, are none.
NUMBER = re.compile(r"(?<![\w:.])(\d+(?:\.\d+)?(?:e-?\d+)?)(ms|s|m|h|d)?(?![\w:.])")
WINDOWS = read().windows
Rule = dict[str, Any]
Group = dict[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One changed number of one rule: of its `expr`, its `for`, or a label."""

    file: str
    place: int  # of the rule in its file
    key: str
    start: int
    before: str
    after: str
    context: str  # what stands around it

    def __str__(self) -> str:
        return f"{self.file}[{self.place}].{self.key}: {self.before} → {self.after} in {self.context!r}"


def mutants(file: str) -> Iterator[Mutant]:
    """All of a rule file."""
    for place, rule in enumerate(rules(file)):
        texts = {"expr": rule["expr"], "for": rule.get("for", "")}
        texts |= {f"labels.{name}": value for name, value in rule.get("labels", {}).items()}
        for key, text in texts.items():
            for match in NUMBER.finditer(text):
                context = text[max(match.start() - 40, 0) : match.end() + 20]
                for after in changes(match[0], match[1], match[2]):
                    yield Mutant(file, place, key, match.start(), match[0], after, context)


def changes(text: str, number: str, unit: str | None) -> list[str]:
    """Twice and half a duration, and the windows next to it; a tenth more and less; one more and one less."""
    if unit:
        of = seconds(text)
        known = [WINDOWS[i] for near in (-1, 1) if text in WINDOWS for i in [WINDOWS.index(text) + near]
                 if 0 <= i < len(WINDOWS)]  # fmt: skip
        halved = [duration(of / 2), duration(of * 2)]
        return list(dict.fromkeys([*known, *(d for d in halved if all(seconds(d) != seconds(k) for k in known))]))
    if re.fullmatch(r"0\d", number):  # a bin
        return [f"{int(number) + 1:02}"]
    if "e-" in number:
        return ["0", "1"]
    value = float(number)
    if "." not in number and value <= 10:
        return [str(int(value) + step) for step in (-1, 1) if value + step >= 0]
    return [f"{value * part:g}" for part in (0.9, 1.1)]


def duration(of: float) -> str:
    """Seconds as Prometheus writes them."""
    unit = next(u for u in ("d", "h", "m", "s") if of % UNITS[u] == 0)
    return f"{of / UNITS[unit]:g}{unit}"


@cache
def rules(file: str) -> list[Rule]:
    """The rules of a committed file, in their order."""
    (group,) = yaml.safe_load((PROMETHEUS / "rules" / file).read_text())["groups"]
    return list(group["rules"])


def mutated(mutant: Mutant) -> list[Rule]:
    """The rules of its file with the change."""
    changed = copy.deepcopy(rules(mutant.file))
    where, _, label = mutant.key.partition(".")
    holder, key = (changed[mutant.place]["labels"], label) if label else (changed[mutant.place], where)
    text = holder[key]
    holder[key] = text[: mutant.start] + mutant.after + text[mutant.start + len(mutant.before) :]
    return changed


@dataclass
class Suite:
    """The committed tests of one rule file, group by group."""

    file: str
    folder: Path
    _passed: dict[tuple[str, ...], bool] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @cached_property
    def groups(self) -> list[tuple[str, Group]]:
        """(interval of evaluation, group) of every test file of these rules."""
        collected = []
        for tests in sorted((PROMETHEUS / "tests").glob("*.yml")):
            content = yaml.safe_load(tests.read_text())
            if content["rule_files"] == [f"../rules/{self.file}"]:
                collected += [(content["evaluation_interval"], group) for group in content["tests"]]
        return collected

    def kills(self, mutant: Mutant) -> bool:
        """Whether a group fails with it that passes without; the likeliest are tried first."""
        changed = mutated(mutant)
        for groups in self._batches(mutant):
            objective = of_objective(groups)
            if not self._passes(only(changed, objective), groups):
                assert self._sound(objective, groups), f"these fail by themselves: {[g['name'] for _, g in groups]}"
                return True
        return False

    def _batches(self, mutant: Mutant) -> Iterator[list[tuple[str, Group]]]:
        likely = sorted(self.groups, key=lambda each: -score(mutant, each[1]["name"]))
        yield likely[:1]
        yield likely[1:2]
        rest = likely[2:]
        for objective in dict.fromkeys(of_objective([each]) for each in rest):
            yield [each for each in rest if of_objective([each]) == objective]

    def _sound(self, objective: str, groups: list[tuple[str, Group]]) -> bool:
        key = tuple(group["name"] for _, group in groups)
        with self._lock:
            if key not in self._passed:
                self._passed[key] = self._passes(only(rules(self.file), objective), groups)
            return self._passed[key]

    def _passes(self, tried: list[Rule], groups: list[tuple[str, Group]]) -> bool:
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            write(folder / "rules.yml", {"groups": [{"name": "tried", "rules": tried}]})
            files = []
            for interval in dict.fromkeys(interval for interval, _ in groups):
                files.append(folder / f"test-{interval}.yml")
                tests = [group for every, group in groups if every == interval]
                write(files[-1], {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": tests})
            tested = run(tool("promtool"), "test", "rules", *files)
            assert tested.returncode in (0, 1) and "parse error" not in tested.stdout + tested.stderr, tested.stdout
            return tested.returncode == 0


def write(file: Path, content: Any) -> None:
    file.write_text(yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), width=1_000_000))


def of_objective(groups: list[tuple[str, Group]]) -> str:
    """The objective whose tests these are, as their names begin; empty for other rules."""
    head, _, tail = groups[0][1]["name"].partition(": ") if groups else ("", "", "")
    return head if tail and head in {o.name for o in read().objectives} else ""


def only(tried: list[Rule], objective: str) -> list[Rule]:
    """Without the rules of other objectives, which its tests do not ask for: half of them, in half of the time."""
    return [rule for rule in tried if not objective or rule.get("labels", {}).get("slo", objective) == objective]


def score(mutant: Mutant, name: str) -> int:
    """How likely the test of this name is to see it: one of the same objective and window, or of the same alert."""
    rule = rules(mutant.file)[mutant.place]
    labels = rule.get("labels", {})
    objective = labels.get("slo", "availability" if mutant.file == "slo.yml" else "")
    window = labels.get("window") or tier(rule["expr"], mutant.start)
    words = {"few": "fewer than", "drift": "each bin"}
    points = 4 * name.startswith(f"{objective}:") + 2 * bool(window and re.search(rf"over {window}\b", name))
    points += bool(re.search(r'"5m\||>= ', mutant.context) and words["few"] in name and mutant.file == "slo.yml")
    return points + bool("cumulative" in str(rule.get("record")) and words["drift"] in name)


def tier(expr: str, start: int) -> str:
    """The long window of the tier that stands at this place of an alert's expression."""
    begun = expr.rfind("(ekiben:slo_error:ratio", 0, start + 1)
    match = re.search(r'window="(\w+)"', expr[begun:]) if begun >= 0 else None
    return match[1] if match else ""
