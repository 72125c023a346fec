"""The figures about drift: of the limit that the rules have, and of a chance that real samples confirm."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from loadtest import drift
from loadtest.drift import Reference, main, parse, read_references
from loadtest.service import ServiceError
from tests.deploy.conftest import DEPLOY, run, tool
from tests.deploy.stand_ins import serving

EVEN = np.append(np.full(10, 0.1), 0.0)


def exported(rows: int = 120, bins: int = 4) -> str:
    """What a service with one model of one quantity says at /metrics."""
    labels = 'model="m",version="1",quantity="input:a"'
    shares = {**{f"{i:02}": 1 / bins for i in range(bins)}, "missing": 0.0}
    lines = [f'ekiben_drift_reference_ratio{{{labels},bin="{name}"}} {share}' for name, share in shares.items()]
    return "\n".join([*lines, f"ekiben_drift_reference_rows{{{labels}}} {rows}", "other 1", ""])


def test_references_are_read_from_a_scrape() -> None:
    (found,) = parse(exported(rows=77))
    assert (found.model, found.quantity, found.rows, found.filled) == ("m", "input:a", 77, 4)
    assert found.shares.tolist() == [0.25, 0.25, 0.25, 0.25, 0]


@pytest.mark.parametrize(("bins", "trained"), [(10, 90), (10, 16_000), (3, 30), (2, 50), (1, 50)])
def test_the_limit_is_that_of_the_committed_rules(tmp_path: Path, bins: int, trained: int) -> None:
    labels = 'model="m",version="1",quantity="input:a"'
    shares = {f"{i:02}": 1 / bins for i in range(bins)} | {"missing": 0.0}
    rows = {f'ekiben_drift_reference_rows{{{labels},instance="a"}}': f"{trained}+0x90"}
    for name, share in shares.items():
        each = f'{labels},bin="{name}",instance="a"'
        rows |= {f"ekiben_drift_observed_total{{{each}}}": f"0+{600 * share:g}x90"}
        rows |= {f"ekiben_drift_reference_ratio{{{each}}}": f"{share}+0x90"}
    above = drift.limit(Reference("", "", np.array([*shares.values()]), trained), 36_000)
    sample = {"labels": f"{{{labels}}}", "value": round(above, 3)}
    asked = {"expr": "round(ekiben:drift_limit:psi, 0.001)", "eval_time": "80m", "exp_samples": [sample]}
    given = [{"series": series, "values": values} for series, values in rows.items()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    file = tmp_path / "limit.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(DEPLOY / "prometheus/rules/drift.yml")], "tests": [test]}))
    tested = run(tool("promtool"), "test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_chance_is_as_real_samples_have_it() -> None:
    """Trainings of normal numbers, cut at their deciles, against rows of the same kind: no Dirichlet in it."""
    random, trained, rows = np.random.default_rng(0), 120, 500
    real = []
    for _ in range(3000):
        edges = np.quantile(random.normal(size=trained), np.arange(1, 10) / 10, method="inverted_cdf")
        found = np.bincount(np.searchsorted(edges, random.normal(size=rows)), minlength=10) / rows
        real.append(drift.psi(found, np.full(10, 0.1)))
    drawn = drift.looks(Reference("", "", EVEN, trained), rows, 3000, random)
    for quantile in (0.1, 0.5, 0.9, 0.99):
        assert np.quantile(drawn, quantile) == pytest.approx(np.quantile(real, quantile), rel=0.12), quantile


def test_a_shift_moves_the_shares_as_it_would_a_normal_quantity() -> None:
    values = np.random.default_rng(0).normal(size=400_000)
    edges = np.quantile(values, np.arange(1, 10) / 10)
    moved = np.bincount(np.searchsorted(edges, values + 0.5), minlength=10) / len(values)
    assert np.abs(drift.shifted(EVEN, 0.5)[:-1] - moved).max() < 0.004
    some_missing = np.append(np.full(10, 0.07), 0.3)
    assert drift.shifted(some_missing, 0.5).sum() == pytest.approx(1)
    assert drift.shifted(some_missing, 0.5)[-1] == 0.3


def test_the_limit_keeps_its_promise_and_the_convention_alone_does_not() -> None:
    reference, random = Reference("", "", EVEN, 36), np.random.default_rng(0)
    values = drift.looks(reference, 500, 20_000, random)
    assert (values > drift.PSI).mean() > 0.5
    assert (values > drift.limit(reference, 500)).mean() < 5e-4


def test_the_report_is_written_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doc = tmp_path / "drift.md"
    doc.write_text("before\n<!-- drift -->\nformer figures\n<!-- /drift -->\nafter\n")
    with serving(lambda path, body: (200, "text/plain", exported().encode())) as port:
        main(["--url", f"http://127.0.0.1:{port}", "--looks", "200", "--doc", str(doc)])
    written = doc.read_text()
    assert written.startswith("before\n<!-- drift -->\n200 looks at each of 1 quantities")
    assert "former" not in written and written.endswith("<!-- /drift -->\nafter\n")
    assert "| m | input:a | 4 | 120 |" in written and (tmp_path / "drift.png").stat().st_size > 10_000
    assert "m input:a" in capsys.readouterr().err


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    with serving(lambda path, body: (200, "text/plain", b"other 1\n")) as port:
        for command in (read_references, lambda url: main(["--url", url])):
            with pytest.raises(ServiceError, match=r"no model there was trained with a reference"):
                command(f"http://127.0.0.1:{port}")
    (tmp_path / "plain.md").write_text("no markers\n")
    with pytest.raises(SystemExit, match="must hold <!-- drift -->"):
        main(["--doc", str(tmp_path / "plain.md")])
