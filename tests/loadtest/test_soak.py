"""A minute of the soak: neither memory nor file descriptors grow. `python -m loadtest.soak` is the long one."""

import json

import pytest

from loadtest import soak
from loadtest.soak import Sample, draw, judge

MINUTES = "0.6"


@pytest.mark.long
def test_a_minute_under_load_grows_nothing(store, tmp_path, monkeypatch):
    monkeypatch.setenv("BENTOML_HOME", str(store))
    monkeypatch.setattr(soak, "FOLDER", tmp_path)
    # Less than the 70 % of the long one: other work on this machine takes its share while the tests run.
    soak.main(["--minutes", MINUTES, "--load", "0.3", "--model", "iris", "--workers", "1"])
    samples = [Sample(**each) for each in json.loads((tmp_path / "soak.json").read_text())]
    assert sum(each.requests for each in samples) > 1000
    kept = {promise.what: promise.kept for promise in judge(samples)}
    assert kept["growth of memory"], samples
    assert kept["more file descriptors"], samples
    assert (tmp_path / "soak.png").stat().st_size > 10_000


def test_what_grows_is_found():
    steady = [Sample(float(i), 100 * 2**20 + i % 3, 40, 2.0, 5.0, 100, 0) for i in range(20)]
    assert all(promise.kept for promise in judge(steady))
    for what, worse in (
        ("growth of memory", {"memory": 2**20 // 10}),
        ("more file descriptors", {"files": 1}),
        ("growth of median latency", {"p50": 0.1}),
        ("requests failed", {"failed": 1}),
    ):
        grown = [
            Sample(**{**vars(each), **{name: getattr(each, name) + by * place for name, by in worse.items()}})
            for place, each in enumerate(steady)
        ]
        assert [promise.what for promise in judge(grown) if not promise.kept] == [what]


def test_the_plot_is_drawn(tmp_path):
    draw([Sample(float(i), 100 * 2**20, 40, 2.0, 5.0, 100, 0) for i in range(20)], "a machine", tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
