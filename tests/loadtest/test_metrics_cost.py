"""What the measurement of the metrics' cost makes of what a service says."""

from pathlib import Path

import pytest

from loadtest import metrics_cost
from loadtest.clients import ClosedLoop
from loadtest.metrics_cost import ONE_BY_ONE, Cost

SCRAPE = """
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total{process="supervisor"} 100
process_cpu_seconds_total{process="worker-1"} %(cpu)s
# TYPE ekiben_recording_seconds_total counter
ekiben_recording_seconds_total %(recording)s
"""


class Saying:
    """A service whose /metrics are these texts, one after the other."""

    port = 1

    def __init__(self, *texts):
        self.texts = list(texts)

    def request(self, path):
        return {}, self.texts.pop(0).encode()


def scrape(cpu, recording, counts):
    text = SCRAPE % {"cpu": cpu, "recording": recording}
    for name in ONE_BY_ONE:
        text += f"# TYPE ekiben_{name} histogram\n"
        text += "".join(f'ekiben_{name}_count{{form="{form}"}} {counts / 2}\n' for form in ("onnx", "int8"))
    return text


def result(**changed):
    figures = {"requests": 100_000, "seconds": 5.0, "p50_ms": 1.0, "p95_ms": 1.5, "p99_ms": 2.0, "max_ms": 3.0}
    return ClosedLoop(**{**figures, "not_200": 0, "broken": 0, "timed_out": 0, **changed})


def test_cost_is_what_grew_during_the_load_and_not_what_the_supervisor_used(monkeypatch):
    monkeypatch.setattr(metrics_cost.clients, "run_wrk", lambda *_: result())
    monkeypatch.setattr(metrics_cost, "append_seconds", lambda: 1e-7)
    service = Saying(scrape(10, 1, 50), scrape(14, 1.05, 100_050))
    cost = metrics_cost.one_round(service, Path(), 5, scrape=0.03)
    assert cost.rate == 20_000 and cost.cpu == pytest.approx(40) and cost.binning == pytest.approx(0.5)
    assert cost.appending == pytest.approx(0.1 * len(ONE_BY_ONE))
    assert cost.scraping == pytest.approx(0.1)  # 2 ms of each second, over 20,000 requests
    assert cost.share == pytest.approx((0.5 + 0.7 + 0.1) / 40)


def test_failed_requests_give_no_figure(monkeypatch):
    monkeypatch.setattr(metrics_cost.clients, "run_wrk", lambda *_: result(not_200=3))
    with pytest.raises(metrics_cost.ServiceError, match="3 of 100000 requests failed"):
        metrics_cost.one_round(Saying(scrape(1, 1, 0), scrape(2, 1, 9)), Path(), 5, 0.0)


@pytest.mark.parametrize(("binning", "code", "verdict"), [(1.0, 0, "within the 5%"), (9.0, 1, "above the 5%")])
def test_the_verdict_follows_from_the_median(binning, code, verdict, monkeypatch, capsys):
    found = [Cost(20_000, 50.0, b, 0.5, 0.5) for b in (binning, binning, 0.0)]
    monkeypatch.setattr(metrics_cost, "measure", lambda *_: found)
    monkeypatch.setattr(metrics_cost.clients, "require_wrk", lambda: None)
    monkeypatch.setattr("sys.argv", ["metrics_cost", "--dry"])
    assert metrics_cost.main() == code
    assert verdict in capsys.readouterr().out
