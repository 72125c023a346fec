"""The peers benchmark, without a server: what it asks, what it takes for right, and what it makes of the figures."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from loadtest import clients
from loadtest.peers import __main__ as cli
from loadtest.peers import bench, payloads, peer, report
from loadtest.peers.payloads import Samples
from loadtest.service import ServiceError


def iris(count: int = 6) -> Samples:
    rows = payloads.irises(count)
    labels = np.arange(count) % 3
    probabilities = np.eye(3, dtype=np.float32)[labels]
    return Samples("iris", "features", rows, {"label": labels, "probabilities": probabilities})


def digits(count: int = 3) -> Samples:
    logits = np.linspace(-5, 5, 10 * count, dtype=np.float32).reshape(count, 10)
    return Samples("digits", "image", payloads.digits(count), {"logits": logits})


def record(name: str, rate: float, connections: int = 8, heads: str = "own", number: int = 1, **more: Any) -> dict:
    cost = {"rate": rate, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 50.0, "background_cores": 0.0}
    cell = {"payload": "json", "model": "iris", "connections": connections, "heads": heads}
    return {"round": number, "peer": name, **cell, **cost, **more}


def results(records: list[dict[str, Any]]) -> dict[str, Any]:
    peers = {n: {"title": n.title(), "limit": n.startswith("bare")} for n in {r["peer"]: None for r in records}}
    machine = {"cpu": "a processor", "cores": 2, "python": "3.11.7"}
    settings = {"rounds": 3, "seconds": 4.0, "connections": [8, 32]}
    return {"machine": machine, "settings": settings, "peers": peers, "records": records}


# What is asked


def test_samples_differ_and_are_the_same_every_time() -> None:
    for make in (payloads.irises, payloads.digits):
        rows = make()
        assert rows.dtype == np.float32
        assert len(np.unique(rows.reshape(len(rows), -1), axis=0)) > 0.9 * payloads.COUNT
        assert np.array_equal(rows, make())


def test_pictures_have_ink_on_a_dark_ground_and_lie_in_the_unit_interval() -> None:
    pictures = payloads.digits()
    assert pictures.shape == (payloads.COUNT, 1, 28, 28)
    assert pictures.min() == 0 and pictures.max(axis=(1, 2, 3)).min() > 0.7 and pictures.max() <= 1
    assert 0.5 < (pictures == 0).mean() < 0.95


def test_sentences_are_of_all_lengths_and_no_two_alike() -> None:
    rows = payloads.sentences()
    lengths = [len(row) for row in rows]
    assert len({row.tobytes() for row in rows}) == len(rows) and len(set(lengths)) > 30
    assert min(lengths) == 4 and max(lengths) <= 64 and 13 < np.mean(lengths) < 17
    assert all(np.array_equal(row, again) for row, again in zip(rows, payloads.sentences(), strict=True))
    sentences = Samples("sentences", "ids", rows, {})
    for place in (0, 7):
        headers, body = payloads.body("v2-binary", sentences, place)
        assert body.endswith(rows[place].tobytes()) and json.loads(
            body[: int(headers["Inference-Header-Content-Length"])]
        )


@pytest.mark.parametrize("dialect", ["v2", "plain", "bentoml"])
@pytest.mark.parametrize("make", [iris, digits])
def test_a_body_holds_exactly_the_float32_values(dialect: str, make: Callable[[], Samples]) -> None:
    asked = make()
    for place, row in enumerate(asked.rows):
        body = json.loads(payloads.body(dialect, asked, place)[1])
        data = body["inputs"][0]["data"] if dialect == "v2" else body[asked.input]
        assert np.array_equal(np.array(data, np.float32).ravel(), row.ravel())


@pytest.mark.parametrize("dialect", ["v2", "plain", "bentoml", "fields"])
def test_numbers_are_written_as_short_as_clients_write_them(dialect: str) -> None:
    short = Samples("iris", "features", np.array([[96 / 255, 5.1, 0, 1]], np.float32), {})
    text = payloads.body(dialect, short, 0)[1].decode()
    assert "0.3764706" in text and "5.1" in text and "5.09" not in text and "0.376470595" not in text


def parsed(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


INGRESS = ("X-Request-ID", "X-Forwarded-For", "X-Real-IP", "traceparent")


def test_own_heads_differ_in_every_request_and_so_do_ids() -> None:
    whole = [parsed(each) for each in payloads.requests("v2", iris(64), 7, "/v2/models/iris/infer", "own")]
    assert len(whole) >= 4096
    for name in ("X-Request-ID", "traceparent"):
        assert len({headers[name] for headers, _ in whole}) == len(whole)
    assert len({headers["X-Real-IP"] for headers, _ in whole}) > 0.99 * len(whole)
    assert len({json.loads(body)["id"] for _, body in whole}) == len(whole)
    assert len({json.dumps(json.loads(body)["inputs"]) for _, body in whole}) > 55
    assert all(int(headers["Content-Length"]) == len(body) for headers, body in whole)


def test_a_fixed_head_is_the_same_for_bodies_of_one_length() -> None:
    whole = [parsed(each) for each in payloads.requests("v2", iris(64), 7, "/v2/models/iris/infer", "fixed")]
    heads = {tuple(sorted(headers.items())) for headers, _ in whole}
    assert len(whole) == 64 and len(heads) == len({len(body) for _, body in whole})
    assert not any(name in headers for headers, _ in whole for name in INGRESS)
    assert not any("id" in json.loads(body) for _, body in whole)


def test_pictures_are_pngs_in_forms_with_boundaries_of_their_own() -> None:
    whole = [parsed(each) for each in payloads.requests("picture", digits(8), 7, "/digits/classify", "own")]
    boundaries = {headers["Content-Type"].partition("boundary=")[2] for headers, _ in whole}
    assert len(boundaries) == len(whole) >= 4096
    headers, body = whole[5]
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    content = body.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n--" + boundary + b"--\r\n")
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (140, 140))


# What is taken for right


def answers(asked: Samples, place: int) -> dict[str, bytes]:
    label, row = int(asked.outputs["label"][place]), asked.outputs["probabilities"][place].tolist()
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": [1, 1], "data": [label]},
        {"name": "probabilities", "datatype": "FP32", "shape": [1, 3], "data": row},
    ]
    native = {"label": payloads.SPECIES[label], "probabilities": dict(zip(payloads.SPECIES, row, strict=True))}
    plain = {"label": label, "probabilities": row}
    by_dialect = {"v2": {"outputs": outputs}, "plain": plain, "bentoml": [plain], "fields": native}
    return {dialect: json.dumps(answer).encode() for dialect, answer in by_dialect.items()}


def expected(asked: Samples, place: int) -> dict[str, np.ndarray]:
    return {name: column[place] for name, column in asked.outputs.items()}


@pytest.mark.parametrize("dialect", ["v2", "plain", "bentoml", "fields"])
def test_the_right_answer_passes_and_that_to_another_question_does_not(dialect: str) -> None:
    asked = iris()
    assert payloads.fault(dialect, expected(asked, 1), answers(asked, 1)[dialect]) == ""
    assert "label" in payloads.fault(dialect, expected(asked, 1), answers(asked, 2)[dialect])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"<html>", "unreadable"),
        (b'{"label": 1}', "unreadable"),
        (b'{"label": 1, "probabilities": [0, 1]}', "unreadable"),
        (b'{"label": 1, "probabilities": [0, null, 0]}', "probabilities"),
        (b'{"label": 1, "probabilities": [0, 0.9997, 0]}', "probabilities"),
        (b'{"label": 1, "probabilities": [0, 0.99995, 0]}', ""),
    ],
)
def test_faults_are_told(answer: bytes, told: str) -> None:
    fault = payloads.fault("plain", expected(iris(), 1), answer)
    assert told in fault and bool(told) == bool(fault)


# What is made of it


CELL = ("json", "iris", 8, "own")


def test_the_median_round_counts_and_its_range_is_kept() -> None:
    figure = report.summarize([record("triton", rate) for rate in (900, 1500, 1000)])["triton"][CELL]
    assert (figure.rate, figure.low, figure.high, figure.rounds) == (1000, 900, 1500, 3)


def test_one_wrong_round_takes_the_whole_figure_and_the_reason_is_told() -> None:
    given = [record("triton", 900), record("triton", 5000, rejected="2 of 128 answers are wrong")]
    assert report.summarize(given) == {"triton": {}}
    text = report.markdown(results(given))
    assert "2 of 128 answers are wrong" in text and "5,000" not in text


def test_ratios_are_of_the_same_round_and_column() -> None:
    given = [record("ekiben", 3000, number=1), record("triton", 2000, number=1), record("ekiben", 1000, number=2),
             record("triton", 1000, number=2), record("ekiben", 9, 32), record("ekiben", 7, heads="fixed")]  # fmt: skip
    assert report.ratios(given, "ekiben", "triton", CELL) == [1.5, 1.0]
    assert report.ratios(given, "ekiben", "triton", ("json", "iris", 32, "own")) == []
    assert "| Triton, heads as an ingress sends them | 1.25 (1.00–1.50) | – |" in report.Tables(results(given)).beside()


def test_a_busy_machine_and_a_generator_that_was_the_limit_are_told() -> None:
    assert "quiet machine" in report.markdown(results([record("triton", 1000, background_cores=0.6)]))
    assert "wrk itself" in report.markdown(results([record("triton", 1000, generator_cores=0.99)]))
    text = report.markdown(results([record("triton", 1000)]))
    assert "quiet machine" not in text and "wrk itself" not in text


def test_every_table_has_a_row_per_peer_and_a_column_per_cell() -> None:
    text = report.markdown(
        results([record("ekiben", 3000), record("triton", 2000, 32), record("triton", 9, 8, "fixed")])
    )
    assert "|  | iris, 8: requests/s | CPU µs | iris, 32: requests/s | CPU µs |" in text
    assert text.index("Heads as an ingress sends them") < text.index("One fixed head")
    assert text.count("| Ekiben |") == text.count("| Triton |") == 6


def test_what_has_to_be_known_is_said() -> None:
    text = report.markdown(results([record("triton", 1000)]))
    for words in ("closed loop", "8 or 32", "Triton runs its Python backend", "as JSON", "another order each round"):
        assert words in text


def test_the_documents_get_their_tables_and_the_plot(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for document in report.DOCUMENTS:
        (tmp_path / document).write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    report.write_documents(results([record("ekiben", 3000), record("ekiben", 4000, heads="fixed")]), tmp_path)
    readme, performance = ((tmp_path / document).read_text() for document in report.DOCUMENTS)
    assert readme.index("3,000") < readme.index("4,000") and "old" not in readme and "50 |" in readme
    assert "1.00 / 2.00" in performance and (tmp_path / "docs/bench.png").exists()


def test_the_order_of_the_peers_changes_from_round_to_round(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [peer.read(name) for name in ("ekiben", "triton", "kserve", "fastapi")]
    settings = bench.Settings(["iris"], ["json"], ["own", "fixed"], [8], 6, 1, 0)
    comparison = bench.Bench(peers, {}, settings, {}, Path("logs"), {each.name: "is not there" for each in peers})
    records = list(comparison.records())
    assert len(records) == comparison.total == 6 * 4 * 2
    orders = {tuple(r["peer"] for r in records if r["round"] == n and r["heads"] == "own") for n in range(1, 7)}
    assert len(orders) > 2 and all(sorted(order) == sorted(each.name for each in peers) for order in orders)
    assert [r["heads"] for r in records if r["peer"] == "ekiben"][:4] == ["own", "fixed", "fixed", "own"]


@pytest.mark.parametrize("count", [1, 3])
def test_the_plot_is_drawn_with_and_without_limits_and_with_gaps(tmp_path: Any, count: int) -> None:
    drawn = [record("ekiben", 3000, c) for c in (8, 32, 64)[:count]] + [record("bare-asgi", 9000)]
    report.draw(results([*drawn, record("triton", 2000), record("kserve", 9, rejected="it ended")]), tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_nothing_but_rejections_is_drawn_too(tmp_path: Any) -> None:
    report.draw(results([record("triton", 1, rejected="it ended")]), tmp_path / "b.png")
    assert (tmp_path / "b.png").exists()


# The peers' folders


@pytest.mark.parametrize("name", peer.names())
def test_a_folder_describes_a_peer_that_can_be_started(name: str) -> None:
    described = peer.read(name)
    assert set(described.routes) <= set(payloads.PAYLOADS)
    for routes in described.routes.values():
        assert set(routes) <= set(payloads.MAKERS)
    words = {"python": "p", "port": 1, "spare_port": 2, "scratch": "s", "home": "h", "workers": 1, "bentos": "b"}
    assert [text.format(**words) for text in [*described.command, *described.environment.values()]]
    assert payloads.body(described.dialect, iris(), 0)[1]


@pytest.mark.parametrize("name", peer.names())
def test_requirements_are_pinned(name: str) -> None:
    found = peer.read(name)
    if found.requirements.exists():
        lines = found.requirements.read_text().splitlines()
        assert lines and all("==" in line for line in lines)


def test_an_unknown_peer_is_told_which_there_are() -> None:
    with pytest.raises(peer.PeerError, match="triton"):
        peer.read("torchserve")


def test_a_route_may_depend_on_the_connections() -> None:
    mosec = peer.read("mosec")
    assert mosec.path("json", "iris", 8) == "/iris" and mosec.path("json", "iris", 32) == "/iris/batched"
    assert peer.read("ekiben").path("v2-json", "iris", 8) == "/v2/models/iris/infer"
    assert mosec.path("v2-json", "iris", 8) is None and mosec.path("picture", "digits", 8) is None


def test_another_checkout_is_a_peer_with_its_own_python(tmp_path: Path) -> None:
    before = peer.of_checkout("before", tmp_path)
    assert (before.title, before.folder, before.python) == ("Ekiben, before", tmp_path, tmp_path / ".venv/bin/python")
    assert before.routes == peer.read("ekiben").routes


def test_the_command_line_takes_lists() -> None:
    options = cli.arguments(["--peers", "ekiben,triton", "--connections", "1, 64"])
    assert (options.peers, options.connections, options.models) == (["ekiben", "triton"], [1, 64], ["iris", "digits"])


def test_sentences_are_a_model_of_their_own_for_those_who_take_them() -> None:
    options = cli.arguments(["--payload", "json,sentences", "--models", "iris"])
    assert options.models == ["iris", "sentences"] and cli.arguments([]).models == ["iris", "digits"]
    settings = bench.Settings(options.models, options.payload, ["own"], [32], 1, 1, 0)
    names = ("ekiben", "ekiben-single", "triton", "mosec")
    comparison = bench.Bench([peer.read(name) for name in names], {}, settings, {}, Path("logs"))
    cells = {each.name: {(cell.payload, cell.model) for cell in comparison.cells(each)} for each in comparison.peers}
    both = {("json", "iris"), ("sentences", "sentences")}
    assert cells == {
        "ekiben": both,
        "ekiben-single": both - {("json", "iris")},
        "triton": both,
        "mosec": {("json", "iris")},
    }


def test_loopback_is_told_from_every_interface() -> None:
    assert all(bench.on_loopback(address) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"))
    assert not any(bench.on_loopback(address) for address in ("0.0.0.0", "::", "192.0.2.1"))  # noqa: S104


@pytest.mark.parametrize(
    "words", [["--onnx", "iris"], ["--models", "iris,cats"], ["--payload", "iris"], ["--checkout", "iris"]]
)
def test_the_command_line_refuses_what_it_cannot_serve(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.arguments(words)
    assert "iris" in capsys.readouterr().err


# gRPC


def test_a_message_asks_for_a_model_and_answers_are_read_raw_or_typed() -> None:
    from tritonclient.grpc import service_pb2

    samples = iris()
    row = np.asarray(samples.rows[:1])
    message = service_pb2.ModelInferRequest.FromString(payloads.infer_request("m", "features", row))
    assert message.model_name == "m" and list(message.inputs[0].shape) == [1, 4]
    assert message.raw_input_contents[0] == row.tobytes()
    raw, typed = service_pb2.ModelInferResponse(), service_pb2.ModelInferResponse()
    for answer in (raw, typed):
        answer.outputs.add(name="label", datatype="INT64", shape=[1])
        answer.outputs.add(name="probabilities", datatype="FP32", shape=[1, 3])
    raw.raw_output_contents.extend([np.array([1], np.int64).tobytes(), np.array([0, 1, 0], np.float32).tobytes()])
    typed.outputs[0].contents.int64_contents.append(1)
    typed.outputs[1].contents.fp32_contents.extend([0, 1, 0])
    for answer in (raw, typed):
        expected = {name: column[1] for name, column in samples.outputs.items()}
        assert not payloads.fault("grpc", expected, answer.SerializeToString())
        assert "label is [1], not [2]" in payloads.fault(
            "grpc", {**expected, "label": np.array(2)}, answer.SerializeToString()
        )
    for octets in (b"\xff", answer.SerializeToString()[:-1]):
        assert "unreadable" in payloads.fault("grpc", expected, octets)


@pytest.mark.skipif("not __import__('shutil').which('h2load')", reason="h2load is not installed")
def test_h2load_counts_and_an_answer_of_another_length_is_none() -> None:
    import grpc

    handler = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": grpc.unary_unary_rpc_method_handler(lambda m, _: m[::-1])}
    )
    server = grpc.server(ThreadPoolExecutor(2), [handler])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        answer = clients.call_model_infer(address, b"message")
        assert answer == b"egassem"
        result = clients.run_h2load(address, b"message", answer, 2, 1)
        assert result.requests > 10 and result.failed == 0
        assert 0 < result.p50_ms <= result.p99_ms <= result.max_ms and result.generator_cores > 0
        assert clients.run_h2load(address, b"message", b"longer answer", 2, 1).failed > 0
    finally:
        server.stop(0)
    with pytest.raises(ServiceError, match="no figures"):
        clients.run_h2load(address, b"message", answer, 1, 1)
    with pytest.raises(ServiceError, match="UNAVAILABLE"):
        clients.call_model_infer(address, b"message")
