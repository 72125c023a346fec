"""The peers benchmark, without a server: what it asks, what it takes for right, and what it makes of the figures."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loadtest.peers import __main__ as cli
from loadtest.peers import dialects, peer, plot, running, samples, summary, wrk
from loadtest.peers.samples import Samples

WRK = """Running 2s test @ http://127.0.0.1:9000/iris
  1 threads and 8 connections
  20000 requests in 2.00s, 3.13MB read
{"requests":20000,"seconds":2.0,"p50_ms":0.7,"p99_ms":2.5,"max_ms":9.1,"not_200":0,"broken":1,"late":2}
"""


def iris(count: int = 6) -> Samples:
    rows = samples.irises(count)
    labels = np.arange(count) % 3
    probabilities = np.eye(3, dtype=np.float32)[labels]
    return Samples("iris", "features", rows, {"label": labels, "probabilities": probabilities})


def digits(count: int = 3) -> Samples:
    logits = np.linspace(-5, 5, 10 * count, dtype=np.float32).reshape(count, 10)
    return Samples("digits", "image", samples.digits(count), {"logits": logits})


def record(name: str, rate: float, connections: int = 8, **more: Any) -> dict[str, Any]:
    cost = {"rate": rate, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 50.0, "other_cores": 0.0}
    return {"peer": name, "model": "iris", "connections": connections, **cost, **more}


def results(records: list[dict[str, Any]]) -> dict[str, Any]:
    peers = {n: {"title": n.title(), "limit": n.startswith("bare")} for n in {r["peer"]: None for r in records}}
    machine = {"cpu": "a processor", "cores": 2, "python": "3.11.7"}
    return {"machine": machine, "settings": {"rounds": 3, "seconds": 4.0}, "peers": peers, "records": records}


# What is asked


def test_samples_differ_and_are_the_same_every_time() -> None:
    for make in (samples.irises, samples.digits):
        rows = make()
        assert rows.dtype == np.float32
        assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) > 0.9 * samples.COUNT
        assert np.array_equal(rows, make())


def test_pictures_have_ink_on_a_dark_ground_and_lie_in_the_unit_interval() -> None:
    pictures = samples.digits()
    assert pictures.shape == (samples.COUNT, 1, 28, 28)
    assert pictures.min() == 0 and pictures.max(axis=(1, 2, 3)).min() > 0.7 and pictures.max() <= 1
    assert 0.5 < (pictures == 0).mean() < 0.95


@pytest.mark.parametrize("dialect", ["v2", "plain", "bentoml"])
@pytest.mark.parametrize("make", [iris, digits])
def test_a_body_holds_exactly_the_float32_values(dialect: str, make: Callable[[], Samples]) -> None:
    asked = make()
    for row, text in zip(asked.rows, dialects.bodies(dialect, asked), strict=True):
        body = json.loads(text)
        data = body["inputs"][0]["data"] if dialect == "v2" else body[asked.input]
        assert np.array_equal(np.array(data, np.float32).ravel(), row.ravel())


def test_numbers_are_written_as_short_as_clients_write_them() -> None:
    assert json.dumps(dialects.numbers(np.array([96 / 255, 5.1, 0], np.float32))) == "[0.3764706, 5.1, 0.0]"


def test_a_body_is_one_line() -> None:
    assert not any(b"\n" in body for body in dialects.bodies("v2", digits()))  # post.lua reads one body a line


# What is taken for right


def answers(asked: Samples, place: int) -> dict[str, bytes]:
    label, row = int(asked.outputs["label"][place]), asked.outputs["probabilities"][place].tolist()
    outputs = [{"name": "label", "data": [label]}, {"name": "probabilities", "data": row}]
    native = {"label": dialects.SPECIES[label], "probabilities": dict(zip(dialects.SPECIES, row, strict=True))}
    plain = {"label": label, "probabilities": row}
    found = {"v2": {"outputs": outputs}, "plain": plain, "bentoml": [plain], "fields": native}
    return {dialect: json.dumps(answer).encode() for dialect, answer in found.items()}


@pytest.mark.parametrize("dialect", ["v2", "plain", "bentoml", "fields"])
def test_the_right_answer_passes_and_that_to_another_question_does_not(dialect: str) -> None:
    asked = iris()
    assert dialects.fault(dialect, asked, 1, 200, answers(asked, 1)[dialect], 1e-4) == ""
    assert "label" in dialects.fault(dialect, asked, 1, 200, answers(asked, 2)[dialect], 1e-4)


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (503, b"busy", "503 busy"),
        (200, b"<html>", "unreadable"),
        (200, b'{"label": 1}', "unreadable"),
        (200, b'{"label": 1, "probabilities": [0, 1]}', "unreadable"),
        (200, b'{"label": 1, "probabilities": [0, NaN, 0]}', "probabilities"),
        (200, b'{"label": 1, "probabilities": [0, 0.9998, 0]}', "probabilities"),
        (200, b'{"label": 1, "probabilities": [0, 0.99995, 0]}', ""),
    ],
)
def test_faults_are_told(status: int, answer: bytes, told: str) -> None:
    fault = dialects.fault("plain", iris(), 1, status, answer, 1e-4)
    assert told in fault and bool(told) == bool(fault)


# What wrk said


def test_the_figures_of_wrk_are_in_its_last_line() -> None:
    shot = wrk.parse(WRK)
    assert (shot.rate, shot.p99_ms, shot.failed) == (10_000, 2.5, 3)


def test_wrk_without_figures_says_why() -> None:
    with pytest.raises(wrk.WrkError, match="Connection refused"):
        wrk.parse("", "unable to connect to 127.0.0.1:1 Connection refused\n")


# What is made of it


def test_the_median_round_counts_and_its_range_is_kept() -> None:
    found = summary.figures([record("triton", rate) for rate in (900, 1500, 1000)])["triton"]["iris", 8]
    assert (found.rate, found.low, found.high, found.rounds) == (1000, 900, 1500, 3)


def test_one_wrong_round_takes_the_whole_figure_and_the_reason_is_told() -> None:
    given = [record("triton", 900), record("triton", 5000, rejected="2 of 128 answers are wrong")]
    assert summary.figures(given) == {"triton": {}}
    text = summary.markdown(results(given))
    assert "2 of 128 answers are wrong" in text and "5,000" not in text


def test_ratios_are_within_a_cell() -> None:
    found = summary.figures(
        [record("ekiben", 3000), record("triton", 2000), record("ekiben", 9, 32), record("bentoml", 100)]
    )
    assert summary.ratio(found, "ekiben", "triton", ("iris", 8)) == 1.5
    assert summary.ratio(found, "ekiben", "triton", ("iris", 32)) is None
    assert summary.ratio(found, "ekiben", "bentoml", ("iris", 8)) == 30


def test_a_busy_machine_is_told() -> None:
    assert "quiet machine" in summary.markdown(results([record("triton", 1000, other_cores=0.6)]))
    assert "quiet machine" not in summary.markdown(results([record("triton", 1000)]))


def test_every_table_has_a_row_per_peer_and_a_column_per_cell() -> None:
    text = summary.markdown(results([record("ekiben", 3000), record("triton", 2000, 32)]))
    assert text.count("|  | iris, 8 | iris, 32 |") == 4  # throughput, times Triton, latency, cost
    assert text.count("| Ekiben |") == text.count("| Triton |") == 4


@pytest.mark.parametrize("count", [1, 3])
def test_the_plot_is_drawn_with_and_without_limits_and_with_gaps(tmp_path: Any, count: int) -> None:
    drawn = [record("ekiben", 3000, c) for c in (8, 32, 64)[:count]] + [record("bare-asgi", 9000)]
    plot.draw(results([*drawn, record("triton", 2000), record("kserve", 9, rejected="it ended")]), tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_nothing_but_rejections_is_drawn_too(tmp_path: Any) -> None:
    plot.draw(results([record("triton", 1, rejected="it ended")]), tmp_path / "b.png")
    assert (tmp_path / "b.png").exists()


# The peers' folders


@pytest.mark.parametrize("name", peer.names())
def test_a_folder_describes_a_peer_that_can_be_started(name: str) -> None:
    found = peer.read(name)
    assert found.dialect in dialects.DIALECTS and set(found.routes) <= set(samples.MAKERS)
    words = {"python": "p", "port": 1, "spare_port": 2, "scratch": "s"}
    assert [text.format(**words) for text in [*found.command, *found.environment.values()]]


@pytest.mark.parametrize("name", peer.names())
def test_requirements_are_pinned(name: str) -> None:
    found = peer.read(name)
    if found.requirements.exists():
        lines = found.requirements.read_text().splitlines()
        assert lines and all("==" in line for line in lines)


def test_an_unknown_peer_is_told_which_there_are() -> None:
    with pytest.raises(peer.PeerError, match="triton"):
        peer.read("torchserve")


def test_free_ports_differ() -> None:
    assert len(set(running.free_ports(5))) == 5


def test_the_command_line_takes_lists() -> None:
    chosen = cli.arguments(["--peers", "ekiben,triton", "--connections", "1, 64"])
    assert (chosen.peers, chosen.connections, chosen.models) == (["ekiben", "triton"], ["1", "64"], ["iris", "digits"])


def test_loopback_is_told_from_every_interface() -> None:
    assert all(running.on_loopback(address) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"))
    assert not any(running.on_loopback(address) for address in ("0.0.0.0", "::", "192.0.2.1"))  # noqa: S104


@pytest.mark.parametrize("words", [["--onnx", "iris"], ["--onnx", "wine=a.onnx"], ["--models", "iris,cats"]])
def test_the_command_line_refuses_what_it_cannot_serve(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.arguments(words)
    assert "iris" in capsys.readouterr().err
