"""No number of the generated rules may change without a test that fails: every threshold, every window, every label.

All of them take most of an hour; one in EVERY is tried, unless EKIBEN_MUTANTS=all asks for the rest.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.mutants import Mutant, Suite, changes, mutants

FILES = ("alerting.yml", "causes.yml", "drift.yml", "slo.yml")
AT_ONCE = 2
EVERY = 1 if os.environ.get("EKIBEN_MUTANTS") == "all" else 32
# Changes that nobody could see, and why.
EQUIVALENT = {
    ("alerting.yml", "vector(1)"): "Watchdog fires whatever its value is",
}


def equivalent(mutant: Mutant) -> bool:
    return any(mutant.file == file and text in mutant.context for file, text in EQUIVALENT)


@pytest.mark.long
@pytest.mark.parametrize("file", FILES)
def test_no_mutant_survives(file: str, tmp_path: Path) -> None:
    suite, every = Suite(file, tmp_path), [mutant for mutant in mutants(file) if not equivalent(mutant)][::EVERY]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed = list(pool.map(suite.kills, every))
    survivors = [str(mutant) for mutant, dead in zip(every, killed, strict=True) if not dead]
    assert not survivors, f"{len(survivors)} of {len(every)} survive:\n" + "\n".join(survivors)


def test_a_mutant_is_killed_and_what_is_no_mutant_is_not(tmp_path: Path) -> None:
    suite = Suite("alerting.yml", tmp_path)
    mutant = next(mutant for mutant in mutants("alerting.yml") if mutant.before == "15m")
    assert suite.kills(mutant) and not suite.kills(replace(mutant, after=mutant.before))


def test_every_kind_of_number_is_changed() -> None:
    assert changes("1h", "1", "h") == ["30m", "2h"]
    assert changes("6h", "6", "h") == ["2h", "1d", "3h", "12h"]
    assert changes("1m", "1", "m") == ["30s", "2m"]
    assert changes("14.4", "14.4", None) == ["12.96", "15.84"]
    assert changes("5", "5", None) == ["4", "6"] and changes("0", "0", None) == ["1"]
    assert changes("500", "500", None) == ["450", "550"]
    assert changes("03", "03", None) == ["04"] and changes("1e-9", "1e-9", None) == ["0", "1"]


def test_mutants_are_of_every_rule_that_has_a_number() -> None:
    texts = [mutant.context for file in FILES for mutant in mutants(file)]
    for piece in (
        "14.4 * 0.001",
        "[30d]",
        'window=~"5m|1h"',
        ">= 500",
        "4.265",
        'bin=~"00|01"',
        "> 0.05",
        "5m",
        "[15m]",
    ):
        assert any(piece in text for text in texts), piece
    assert not [text for text in texts if text.startswith("rate5m")]
