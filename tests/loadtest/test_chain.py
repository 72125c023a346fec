"""The chain's benchmark, without a service: what wrk says, what is made of it, and what it refuses to conclude."""

import pytest

from loadtest import chain
from loadtest.chain import REPLICAS, WAYS, Arrangement
from loadtest.clients import ClosedLoop
from loadtest.service import ServiceError

FIGURES = {"requests": 300, "seconds": 3.0, "p50_ms": 2.0, "p95_ms": 4.0, "p99_ms": 8.0, "failed": 0}
CHAIN = {"postprocess": 200.0, "preprocess": 600.0, "model": 100.0}


def record(way, replicas, connections, rate, number=1, **more):
    cpu = {"service": 300.0} if way == "in process" else CHAIN
    what = {"round": number, "way": way, "replicas": replicas, "connections": connections}
    return {**what, **FIGURES, "rate": rate, "cpu_us": cpu, "background_cores": 0.0, **more}


def results(**more):
    records = [
        record(way, replicas, connections, 1000.0 * (3 if way == "in process" else 1) * replicas**0.5, **more)
        for way in WAYS
        for replicas in REPLICAS
        for connections in (1, 8)
    ]
    return {"machine": "a machine", "model": "m", "connections": [1, 8], "rounds": 1, "seconds": 3, "records": records}


RESULT = {"requests": 300, "seconds": 3.0, "p50_ms": 2.0, "p95_ms": 4.0, "p99_ms": 8.0, "max_ms": 9.0}


@pytest.mark.parametrize("changed", [{"requests": 300, "timed_out": 2}, {"requests": 0, "timed_out": 0}])
def test_a_load_that_failed_gives_no_figures(monkeypatch, changed):
    result = ClosedLoop(**{**RESULT, "not_200": 0, "broken": 0, **changed})
    monkeypatch.setattr(chain.clients, "run_wrk", lambda *_: result)
    with pytest.raises(ServiceError, match="requests failed"):
        chain.run_load(Arrangement("in process", 1, "http://127.0.0.1:1/x", {}), [b"file"], 1, 1)


def test_an_upload_is_a_whole_request_of_one_file():
    (request,) = Arrangement("in process", 1, "http://127.0.0.1:77/digits/classify", {}).requests([b"file"])
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /digits/classify HTTP/1.1\r\n") and b"Content-Length: %d\r\n" % len(body) in head
    assert b'name="image"' in body and b"\r\n\r\nfile\r\n--" in body


def test_the_median_round_counts_for_each_cell():
    given = [record("chain, HTTP", 1, 8, rate, number) for number, rate in enumerate((900, 5000, 1000))]
    found = chain.summarize([*given, record("chain, HTTP", 2, 8, 7)])
    assert found["chain, HTTP", 1, 8]["rate"] == 1000 and found["chain, HTTP", 1, 8]["cpu_us"] == 900
    assert found["chain, HTTP", 2, 8]["rate"] == 7


def test_the_conclusion_follows_the_figures():
    given = results()
    assert "0.33 of its rate at × 3.0 CPU by HTTP, 0.33 of its rate at × 3.0 CPU by a shared" in chain.markdown(given)
    for each in given["records"]:
        if each["way"] == "chain, volume":
            each |= {"rate": 1500.0, "cpu_us": {stage: 2 * spent for stage, spent in CHAIN.items()}}
    assert "× 3.0 CPU by HTTP, 0.50 of its rate at × 6.0 CPU by a shared volume" in chain.markdown(given)


def test_a_busy_machine_is_told():
    assert "quiet machine" in chain.markdown(results(background_cores=0.6))
    assert "quiet machine" not in chain.markdown(results())


def test_every_cell_has_a_row():
    text = chain.markdown(results())
    for way in WAYS:
        for replicas in REPLICAS:
            assert text.count(f"| {way}, {replicas} |") == 2


def test_the_plot_is_drawn(tmp_path):
    chain.draw(results(), tmp_path / "chain.png")
    assert (tmp_path / "chain.png").read_bytes().startswith(b"\x89PNG")


def test_bars_of_stages_are_labelled_with_their_sum(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(chain.plots.plt, "close", lambda _: None)
        chain.draw(results(), tmp_path / "chain.png")
    _, _, cpu = chain.plots.plt.gcf().axes
    chain.plots.plt.close()
    assert [text.get_text() for text in cpu.texts] == ["900"] * 4 + ["300"] * 2


class Told(Arrangement):
    """One that gives this answer to everything."""

    answer: dict

    def ask(self, content):
        return dict(self.answer)


def told(way, replicas, answer):
    arrangement = Told(way, replicas, "", {})
    object.__setattr__(arrangement, "answer", answer)
    return arrangement


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"label": "8", "replica": "a"}, "its answers differ"),
        ({"label": "7", "replica": "a"}, "1 replicas answer, not 2"),
    ],
)
def test_arrangements_that_answer_otherwise_are_not_compared(answer, words):
    with pytest.raises(ServiceError, match=words):
        chain.check([told("in process", 1, {"label": "7"}), told("chain, HTTP", 2, answer)], [b"", b""])


def test_figures_are_written_between_the_marks_of_the_document(tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "CHECKOUT", tmp_path)
    (tmp_path / "chain.md").write_text("before\n<!-- chain-bench -->\nold\n<!-- /chain-bench -->\nafter\n")
    chain.write(tmp_path, results())
    text = (tmp_path / "chain.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text and "3,000" in text


@pytest.mark.parametrize("words", [["--model", "iris"], ["--model", "cats"], ["--connections", "0"]])
def test_the_command_line_refuses_what_it_cannot_measure(words, capsys):
    with pytest.raises(SystemExit):
        chain.arguments(words)
    assert words[0] in capsys.readouterr().err


def test_the_documentation_has_a_place_for_the_figures():
    text = (chain.CHECKOUT / "docs" / "chain.md").read_text()
    assert text.count("<!-- chain-bench -->") == text.count("<!-- /chain-bench -->") == 1
