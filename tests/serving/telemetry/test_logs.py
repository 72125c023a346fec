"""Log lines: one per request while there is budget, with the trace that the client saw; JSON where it is asked for."""

import json
import logging

import httpx
import pytest

from serving.errors import BadInput
from serving.telemetry.logs import AsJson, RequestLog, line_budget

WHO = ("m", "onnx", "1", "v2")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_there_is_room_for_so_many_lines_a_second():
    budget = line_budget(20)  # two at once, and another every 50 ms
    moments = (10.0, 10.0, 10.0, 10.02, 10.06, 10.07, 12.0, 12.0, 12.0)
    assert [budget.take(now) for now in moments] == [1, 1, 0, 0, 1, 0, 1, 1, 0]
    assert budget.refused == 4


def test_a_busy_second_has_no_more_than_its_lines():
    budget = line_budget(100)
    assert sum(budget.take(5 + i / 10_000) for i in range(20_000)) == pytest.approx(200 + 10, abs=2)


def test_no_room_at_all_counts_what_is_left_out():
    budget = line_budget(0)
    assert not budget.take(5.0)
    assert budget.refused == 1


def test_what_was_left_out_is_said_once(caplog):
    caplog.set_level(logging.INFO, "bentoml.ekiben.request")
    requests = RequestLog()
    requests.answers = line_budget(1)
    assert requests.answers.take(1.0)
    assert not requests.answers.take(1.1)
    assert requests.answers.take(2.1)
    requests.answered(b"a" * 32, WHO, {"rows": 1, "request_ms": 0.25})
    requests.answered(b"b" * 32, WHO, {"rows": 1, "request_ms": 0.25})
    first, second = caplog.messages
    assert first == (
        f"status=200 trace={'a' * 32} model=m form=onnx version=1 interface=v2"
        " rows=1 request_ms=0.250 left_out_before=1"
    )
    assert "left_out" not in second


def test_a_failure_says_what_the_client_was_told(caplog):
    caplog.set_level(logging.INFO, "bentoml.ekiben.request")
    RequestLog().failed(b"c" * 32, BadInput("rows are 3"), WHO)
    (record,) = caplog.records
    line = json.loads(AsJson().format(record))
    assert line.pop("time")
    assert line == {
        "level": "info",
        "logger": "bentoml.ekiben.request",
        "status": 400,
        "trace": "c" * 32,
        "model": "m",
        "form": "onnx",
        "version": "1",
        "interface": "v2",
        "reason": "bad_input",
        "error": "rows are 3",
    }


def test_an_exception_is_one_line_of_json():
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed: %s", ("why",), (type(error), error, None))
    line = AsJson().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "it failed: why"


def asked(serve, **settings):
    """The answers of a real service that was asked well and badly, and every line that it wrote."""
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5, 3, 1, 0.2]}]}
    asks = [
        ("/v2/models/iris/infer", body, {"traceparent": TRACEPARENT}),
        ("/v2/models/iris/infer", body, {"traceparent": TRACEPARENT}),
        ("/v2/models/iris/infer", {"inputs": []}, {}),
        ("/nowhere", {}, {}),
    ]
    with serve(EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", **settings) as server:
        answers = [httpx.post(server.url + path, json=body, headers=headers) for path, body, headers in asks]
    return answers, server.log.splitlines()


def test_a_real_service_logs_json_only_with_the_traces_that_clients_saw(serve):
    answers, lines = asked(serve, EKIBEN_LOG_FORMAT="json")
    said = [json.loads(line) for line in lines]
    requests = {line["trace"]: line for line in said if "trace" in line}
    assert [a.status_code for a in answers] == [200, 200, 400, 404]
    assert answers[0].headers["x-trace-id"] == TRACEPARENT[3:35]
    good = requests[TRACEPARENT[3:35]]
    assert (good["model"], good["status"], good["rows"], good["batch_rows"]) == ("iris", 200, 1, 1)
    stages = {"queue_ms", "preprocess_ms", "infer_ms", "postprocess_ms"}
    assert stages <= good.keys()
    assert sum(good[stage] for stage in stages) <= good["request_ms"] + 0.005
    bad, lost = (requests[a.headers["x-trace-id"]] for a in answers[2:])
    assert (bad["status"], bad["reason"], bad["error"]) == (400, "bad_input", answers[2].json()["error"])
    assert (lost["status"], lost["path"]) == (404, "/nowhere")


def test_lines_for_people_and_no_line_per_answer_where_none_is_asked_for(serve):
    _, lines = asked(serve, EKIBEN_LOG_REQUESTS_PER_SECOND="0")
    requests = [line for line in lines if "trace=" in line]
    assert [line.partition("status=")[2][:3] for line in requests] == ["400", "404"]
