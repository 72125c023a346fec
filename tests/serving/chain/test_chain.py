"""The chain: three real services, and what befalls their parts: files, replicas that fail, settings."""

import asyncio
import contextlib
import errno
import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from aiohttp import web

from bentos import contract
from serving.chain import replicas as client
from serving.chain import stage as stages_of
from serving.chain import tensors
from serving.chain.message import Call, Message
from serving.chain.replicas import Replicas, StageDown
from serving.chain.settings import ChainSettings, addresses
from serving.chain.stage import Admission, StageEndpoint, health
from serving.chain.transport import OverHttp, OverVolume, Receiver
from serving.chain.volume import Volume, VolumeFull, checked, reply_to
from serving.errors import BadInput, ClientGone, DeadlineExceeded, NotReady, Overloaded, TooLarge
from tests.conftest import ROOT, end, free_port, shared_home
from tests.serving.http.uvicorn_server import ask as ask_raw
from tests.serving.http.uvicorn_server import gateway, post, serving

MODEL = "digits"
PICTURES = [(contract.BENTOS / MODEL / name).read_bytes() for name in contract.examples(MODEL)]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


# The three services


class Chain:
    """Two replicas of the model, and a front for each transport."""

    def __init__(self, store, folder):
        self._store, self._folder = store, folder
        self._processes = []
        self.volume = folder / "volume"
        self.volume.mkdir()
        self.models = [self._start("model:ModelStage") for _ in range(2)]
        at = ",".join(url.removeprefix("http://") for url in self.models)
        self.preprocess, self.fronts = {}, {}
        for transport in ("http", "volume"):
            pre = self._start("preprocess:PreprocessStage", transport, model_at=at)
            front = self._start("postprocess:PostprocessStage", transport, preprocess_at=pre.removeprefix("http://"))
            self.preprocess[transport], self.fronts[transport] = pre, front

    def _start(self, target, transport="http", **where):
        port = free_port()
        home = self._folder / str(port)
        home.mkdir()
        settings = {"model": MODEL, "volume": self.volume, "transport": transport, **where}
        with (home / "serve.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "bentoml",
                    "serve",
                    f"serving.chain.{target}",
                    "--host=127.0.0.1",
                    f"--port={port}",
                ],
                cwd=ROOT,
                env={
                    **os.environ,
                    "BENTOML_HOME": str(shared_home(self._store, home)),
                    "EKIBEN_FORMS": "optimized,int8",
                    "EKIBEN_LOG_REQUESTS_PER_SECOND": "10000",  # no line is left out
                    **{f"EKIBEN_CHAIN_{name.upper()}": str(value) for name, value in settings.items()},
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return f"http://127.0.0.1:{port}"

    def wait(self, seconds=300):
        deadline = time.monotonic() + seconds
        urls = [*self.models, *self.preprocess.values(), *self.fronts.values()]
        while urls:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{urls[0]}/health", timeout=120).json()["status"] == "ok":
                    urls.pop(0)
                    continue
            assert time.monotonic() < deadline, self.log(urls[0])
            time.sleep(0.1)

    def log(self, url):
        return (self._folder / url.rpartition(":")[2] / "serve.log").read_text()

    def lines(self, url, words, seconds=120):
        """The log's lines with these words; a stage writes them after its answer."""
        deadline = time.monotonic() + seconds
        while not (found := [line for line in self.log(url).splitlines() if words in line]):
            assert time.monotonic() < deadline, f"{words} is not in the log of {url}:\n{self.log(url)}"
            time.sleep(0.02)
        return found

    def stop(self):
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            end(process)


@pytest.fixture(scope="module")
def chain(store, tmp_path_factory):
    started = Chain(store, tmp_path_factory.mktemp("chain"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture(params=["http", "volume"])
def front(request, chain):
    with httpx.Client(base_url=chain.fronts[request.param], timeout=120) as http:
        yield http
    assert list(chain.volume.iterdir()) == []


def files(*pictures):
    return [("image", ("picture.png", picture)) for picture in pictures]


@pytest.mark.parametrize("query", ["", "?form=int8"])
def test_the_answer_is_that_of_the_native_route_and_which_replica_computed_it(chain, front, query):
    whole = httpx.post(f"{chain.models[0]}/digits/classify{query}", files=files(PICTURES[7])).json()
    chained = front.post(f"/finalize{query}", files=files(PICTURES[7])).json()
    assert chained.pop("replica").rpartition(":")[2] in {url.rpartition(":")[2] for url in chain.models}
    assert chained == whole


def test_several_files_get_a_list(front):
    answers = front.post("/finalize", files=files(*PICTURES[:3])).json()
    assert [answer["label"] for answer in answers] == ["0", "1", "2"]


def test_a_picture_as_the_body_itself_and_a_large_one(front):
    assert front.post("/finalize", content=PICTURES[4], headers={"content-type": "image/png"}).json()["label"] == "4"
    padded = PICTURES[4] + bytes(200_000)  # goes the way of large bodies, through threads
    assert front.post("/finalize", files=files(padded)).json()["label"] == "4"


def test_both_replicas_answer_by_turns_also_over_one_connection(front):
    seen = [front.post("/finalize", files=files(PICTURES[0])).json()["replica"] for _ in range(10)]
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert len(set(seen)) == 2


def test_many_at_once_each_get_their_own_answer(front):
    places = [place % 10 for place in range(60)]
    with ThreadPoolExecutor(6) as threads:
        found = threads.map(lambda place: front.post("/finalize", files=files(PICTURES[place])), places)
    assert [answer.json()["label"] for answer in found] == [str(place) for place in places]


def test_one_trace_goes_through_all_stages_and_comes_back(chain, front):
    trace = secrets.token_hex(16)
    answer = front.post("/finalize", files=files(PICTURES[0]), headers={"traceparent": f"00-{trace}-{'1' * 16}-00"})
    version, echoed, span, flags = answer.headers["traceparent"].split("-")
    assert (version, echoed, flags) == ("00", trace, "00") and span != "1" * 16
    assert answer.headers["x-trace-id"] == trace
    transport = next(name for name, url in chain.fronts.items() if url == str(front.base_url).rstrip("/"))
    model = next(url for url in chain.models if url.endswith(answer.json()["replica"].rpartition(":")[2]))
    for url in (chain.fronts[transport], chain.preprocess[transport], model):
        (line,) = chain.lines(url, trace)
        assert "status=200" in line, url


@pytest.mark.parametrize("said", [None, "nonsense", f"00-{'0' * 32}-{'1' * 16}-01"])
def test_a_trace_is_made_where_none_is_given(front, said):
    headers = {} if said is None else {"traceparent": said}
    answer = front.post("/finalize", files=files(b"no picture"), headers=headers)
    trace = answer.headers["traceparent"].split("-")[1]
    assert answer.status_code == 400 and len(trace) == 32 and trace != "0" * 32


@pytest.mark.parametrize(
    ("status", "words", "asked"),
    [
        (400, "no picture", {"files": files(b"no picture")}),
        (400, "form field 'file'", {"files": {"file": PICTURES[0]}}),
        (400, "query parameter 'size' is unknown", {"files": files(PICTURES[0]), "params": {"size": 1}}),
        (404, "digits has no form 'x&y'", {"files": files(PICTURES[0]), "params": {"form": "x&y"}}),
        (413, "17 MB; at most 16 MB", {"content": bytes(17 * 2**20), "headers": {"content-type": "image/png"}}),
        (415, "multipart/form-data", {"json": {"image": 1}}),
        # The front reads no files of the volume, whatever a stranger names.
        (400, "no picture", {"files": files(b"none"), "headers": {"ekiben-file": "0" * 32}}),
    ],
)
def test_what_is_wrong_is_a_4xx_in_words(front, status, words, asked):
    answer = front.post("/finalize", **asked)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize("left", ["9" * 5000, "60000", "soon"])
def test_what_a_client_says_of_its_time_shortens_it_or_changes_nothing(front, left):
    answer = front.post("/finalize", files=files(PICTURES[4]), headers={"ekiben-time-left-ms": left})
    assert answer.json()["label"] == "4"


def test_every_stage_has_its_probes_and_metrics(chain, front):
    front.post("/finalize", files=files(PICTURES[0]))
    for url in (*chain.models, *chain.preprocess.values(), *chain.fronts.values()):
        assert {httpx.get(url + path).status_code for path in ("/health", "/livez", "/readyz")} == {200}
        text = httpx.get(f"{url}/metrics").text
        assert f'ekiben_chain_seconds_count{{model="{MODEL}",stage="' in text
        assert "ekiben_worker_heartbeats_total" in text
    asked = httpx.get(f"{chain.preprocess['http']}/health").json()["asks"]["model"]
    assert list(asked.values()) == ["up", "up"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "0" * 31, "0" * 32 + "/..", "0" * 32 + ".reply"])
def test_a_stage_takes_no_paths_for_names(chain, name):
    answer = httpx.post(f"{chain.preprocess['volume']}/preprocess", headers={"ekiben-file": name})
    assert answer.status_code == 400 and "32 hexadecimal digits" in answer.json()["error"]


def test_the_model_stage_is_an_inference_server_like_any(chain):
    row = np.zeros((1, 1, 28, 28), np.float32)
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": row.shape, "data": row.reshape(-1).tolist()}]}
    answer = httpx.post(f"{chain.models[0]}/v2/models/{MODEL}/infer", json=body)
    assert answer.status_code == 200 and answer.json()["outputs"][0]["shape"] == [1, 10]


# Replicas that fail


class Stage:
    """A replica that answers as it is told to: by status, or by doing something to the connection."""

    def __init__(self, answer):
        self.answer, self.asked, self.headers = answer, 0, {}

    async def handle(self, request):
        self.asked += 1
        self.headers = request.headers
        if asyncio.iscoroutinefunction(self.answer):
            return await self.answer(request)
        return web.json_response({"error": "as told"} if self.answer != 200 else {}, status=self.answer)


@contextlib.asynccontextmanager
async def stages(*answers, transport=None):
    """Replicas that answer so, each on a port of its own, and a client of them."""
    told, runners, at = [Stage(answer) for answer in answers], [], []
    for stage in told:
        application = web.Application()
        application.router.add_post("/ask", stage.handle)
        runners.append(web.AppRunner(application, shutdown_timeout=0.1))
        await runners[-1].setup()
        port = free_port()
        await web.TCPSite(runners[-1], "127.0.0.1", port).start()
        at.append(("127.0.0.1", port))
    asking = Replicas("model", at, transport or OverHttp())
    try:
        yield asking, told
    finally:
        await asking.close()
        for runner in runners:
            await runner.cleanup()


def call(seconds=60.0):
    return Call({}, TRACE, "01", time.perf_counter() + seconds)


ASKED = Message({"content-type": "text/plain"}, b"body")


async def breaks_off(request):
    request.transport.close()
    return web.Response()


async def breaks_off_late(request):
    response = web.StreamResponse(headers={"content-length": "100"})
    await response.prepare(request)
    await response.write(b"part")
    request.transport.close()
    return response


async def hangs(request):
    await asyncio.sleep(300)


@pytest.mark.parametrize("failing", [breaks_off, breaks_off_late, 503, 429])
async def test_what_one_replica_fails_at_another_is_asked(failing):
    async with stages(failing, 200, failing) as (asking, told):
        for _ in range(6):
            assert (await asking.ask("/ask", ASKED, call())).status == 200
        assert told[1].asked == 6 and asking.retries > 0


async def test_a_replica_that_failed_is_asked_last_for_a_while():
    async with stages(breaks_off, 200) as (asking, told):
        for _ in range(10):
            await asking.ask("/ask", ASKED, call())
        assert told[0].asked == 1


async def test_one_that_hangs_leaves_time_for_another():
    async with stages(hangs, 200) as (asking, _):
        for _ in range(2):
            assert (await asking.ask("/ask", ASKED, call(5.0))).status == 200


@pytest.mark.parametrize("status", [400, 404, 413, 500])
async def test_what_is_no_matter_of_the_replica_is_not_asked_again(status):
    async with stages(status, status) as (asking, told):
        assert (await asking.ask("/ask", ASKED, call())).status == status
        assert sum(stage.asked for stage in told) == 1


async def test_where_all_are_busy_the_answer_is_theirs():
    async with stages(503, 503) as (asking, told):
        assert (await asking.ask("/ask", ASKED, call())).status == 503
        assert [stage.asked for stage in told] == [1, 1]


async def test_a_stage_that_is_down_is_named():
    asking = Replicas("model", [("127.0.0.1", free_port())], OverHttp())
    with pytest.raises(
        StageDown, match=r"the model stage is down: nobody answers at 127\.0\.0\.1:\d+ \(.*: Connection refused\)"
    ):
        await asking.ask("/ask", ASKED, call())
    await asking.close()


async def test_a_name_that_the_dns_does_not_know_is_named():
    asking = Replicas("model", [("model.invalid", 5001)], OverHttp())
    with pytest.raises(StageDown, match=r"nobody answers at model\.invalid:5001 \(no such name\)"):
        await asking.ask("/ask", ASKED, call())
    await asking.close()


async def test_one_that_only_hangs_is_told_before_the_time_is_up():
    async with stages(hangs) as (asking, _):
        waiting = call(3.0)
        with pytest.raises(DeadlineExceeded, match="the model stage did not answer in time"):
            await asking.ask("/ask", ASKED, waiting)
        assert waiting.seconds_left() > 0


async def test_trace_and_time_left_are_passed_on():
    async with stages(200) as (asking, (stage,)):
        await asking.ask("/ask", ASKED, call(60.0))
        assert stage.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert 0 < int(stage.headers["ekiben-time-left-ms"]) < 60_000


async def test_every_address_of_a_name_is_asked_and_a_new_one_is_noticed(monkeypatch):
    async with stages(200, 200, 200) as (asking, told):
        known = [f"{host}:{port}" for host, port in asking.addresses]
        asking.addresses = [("model", 1)]
        there = known[:2]

        async def dns(host, port):
            return there

        monkeypatch.setattr(client, "_host_addresses", dns)
        monkeypatch.setattr(client, "RESOLVE_SECONDS", 0.0)
        for _ in range(4):
            await asking.ask("/ask", ASKED, call())
        assert [stage.asked for stage in told] == [2, 2, 0]
        there = known
        for _ in range(7):
            await asking.ask("/ask", ASKED, call())
        assert told[2].asked >= 2


# Files


@pytest.fixture
def volume(tmp_path):
    return Volume(tmp_path)


def test_a_file_is_whole_or_not_there(volume, tmp_path):
    name = volume.new()
    volume.write(name, b"data")
    assert volume.read(name, 100) == b"data"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_leaves_nothing(volume, tmp_path):
    name = volume.new()
    with pytest.raises(TypeError):
        volume.write(name, "no bytes")
    assert list(tmp_path.iterdir()) == []


def test_no_two_write_the_same_file(volume, tmp_path):
    name = volume.new()
    (tmp_path / f".{name}").touch()
    with pytest.raises(FileExistsError):
        volume.write(name, b"second")
    assert (tmp_path / f".{name}").exists()  # it is the other's


def test_a_link_is_not_followed(volume, tmp_path):
    name = volume.new()
    (tmp_path / name).symlink_to("/etc/passwd")
    with pytest.raises(NotReady, match=name):
        volume.read(name, 10**6)


def test_a_file_over_the_limit_is_refused(volume):
    name = volume.new()
    volume.write(name, bytes(11))
    with pytest.raises(TooLarge):
        volume.read(name, 10)


def test_only_what_is_old_and_ours_is_swept(volume, tmp_path):
    old, new, strange = volume.new(), volume.new(), "notes.txt"
    for name in (old, reply_to(old), f".{old}", new, strange):
        (tmp_path / name).touch()
        if name != new:
            os.utime(tmp_path / name, (1, 1))
    assert volume.sweep(10) == 3
    assert {file.name for file in tmp_path.iterdir()} == {new, strange}


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    with pytest.raises(NotReady, match="EKIBEN_CHAIN_VOLUME"):
        Volume(tmp_path / "none")


@pytest.mark.parametrize("name", ["", "..", "a/b", "A" * 32, "0" * 33, "0" * 32 + "\n"])
def test_names_are_checked(name):
    with pytest.raises(BadInput, match="32 hexadecimal digits"):
        checked(name)


async def test_a_file_travels_there_and_back_and_is_gone(volume, tmp_path):
    asker, receiver = OverVolume(volume, 1000), Receiver(volume, 1000)
    async with asker.asking(b"question") as (headers, wire):
        assert wire == b""
        assert await receiver.asked(headers["ekiben-file"]) == b"question"
        replied, wire = await receiver.answer(headers["ekiben-file"], b"answer")
        assert wire == b"" and await asker.answered(replied, wire) == b"answer"
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


async def test_files_go_also_when_asking_failed(volume, tmp_path):
    with pytest.raises(RuntimeError):
        async with OverVolume(volume, 1000).asking(b"question"):
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


async def test_nothing_is_written_for_somebody_who_left(volume, tmp_path):
    async with OverVolume(volume, 1000).asking(b"question") as (headers, _):
        pass
    with pytest.raises(ClientGone):
        await Receiver(volume, 1000).answer(headers["ekiben-file"], b"too late")
    assert list(tmp_path.iterdir()) == []


async def test_every_attempt_has_a_file_of_its_own(volume, tmp_path):
    async with stages(breaks_off, 503, 200, transport=OverVolume(volume, 1000)) as (asking, told):
        await asking.ask("/ask", ASKED, call())
        names = {stage.headers["ekiben-file"] for stage in told if stage.asked}
        assert len(names) == sum(stage.asked for stage in told)
    assert list(tmp_path.iterdir()) == []


async def test_a_full_volume_is_told_in_words_and_by_health(volume, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    asked = SimpleNamespace(stage="model", transport=OverVolume(volume, 1000), states=states)
    respond = health("preprocess", MODEL, asked)["/health"]["GET"]._respond
    request = SimpleNamespace(server=("127.0.0.1", 1))
    assert json.loads((await respond(request)).body)["status"] == "ok"
    monkeypatch.setattr(Volume, "free_bytes", lambda _: 999)
    report = json.loads((await respond(request)).body)
    assert report["status"] == "degraded" and report["volume"] == "999 bytes are free, a body may have 1000"
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(VolumeFull, match="no room for 8 bytes") as error:
        async with OverVolume(volume, 1000).asking(b"question"):
            pass
    assert error.value.status == 507 and list(tmp_path.iterdir()) == []


async def states():
    return {"127.0.0.1:1": "up"}


class Counted:
    """Metrics of a stage, of which the failures' reasons are kept."""

    def __init__(self):
        self.stage, self.reasons, self.seconds = "postprocess", [], SimpleNamespace(observe=id)

    def failed(self, reason):
        self.reasons.append(reason)


async def test_more_requests_than_are_taken_at_a_time_are_turned_away_by_their_heads():
    metrics, go_on = Counted(), asyncio.Event()

    async def work(call, body):
        await go_on.wait()
        return Message({"content-type": "text/plain"}, body)

    stage = StageEndpoint(work, None, metrics, 5.0, 2**20, most=2)
    async with serving(gateway({"/ask": {"POST": stage}})) as port:
        under_way = [asyncio.create_task(ask_raw(port, post(b"body", path=b"/ask"))) for _ in range(2)]
        while stage._admission._under_way < 2:
            await asyncio.sleep(0)
        head, _, _ = post(bytes(10**6), b"traceparent: " + TRACEPARENT.encode(), path=b"/ask").partition(b"\0")
        ((head, body),) = await ask_raw(port, head)
        assert b" 429 " in head and b"retry-after: 1" in head and TRACE.encode() in head
        assert b"2 requests are under way" in body
        assert metrics.reasons == ["shed"] and not any(task.done() for task in under_way)
        go_on.set()
        answered = [await task for task in under_way] + [await ask_raw(port, post(b"body", path=b"/ask"))]
    assert [(b" 200 " in head, body) for ((head, body),) in answered] == [(True, b"body")] * 3


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by no time but what is added to it."""
    now = [100.0]
    monkeypatch.setattr(stages_of, "perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def most_taken(admission, seconds_left):
    taken = 0
    with contextlib.suppress(Overloaded), contextlib.ExitStack() as requests:
        while True:
            requests.enter_context(admission.admitted(seconds_left))
            taken += 1
    return taken  # who is turned away ended the others: they failed early


def answered(admission, wait, seconds, error=None):
    """Eight requests come together, and one after the other is answered, or all fail, after so many seconds."""
    with contextlib.suppress(ValueError), contextlib.ExitStack() as requests:
        together = [requests.enter_context(contextlib.ExitStack()) for _ in range(8)]
        for each in together:
            each.enter_context(admission.admitted(1e9))
        for each in together:
            wait(seconds)
            if error is None:
                each.close()
        if error is not None:
            raise error


def test_no_more_are_taken_than_are_answered_in_time_as_far_as_the_last_ones_tell(clock):
    admission = Admission(32)
    assert most_taken(admission, 5.0) == 32  # nothing is known
    for _ in range(5):
        answered(admission, clock, 0.25)
    most = most_taken(admission, 4.0)
    assert 6 <= most <= 12  # 8, but for what is learnt of the last more than of the first
    assert most_taken(admission, 2.0) < most < most_taken(admission, 6.0)
    for _ in range(20):  # it has become faster
        answered(admission, clock, 0.01)
    assert most_taken(admission, 4.0) == 32


def test_one_alone_is_always_taken_and_as_soon_as_it_is_fast_more_are(clock):
    admission = Admission(32)
    answered(admission, clock, 10.0)
    assert most_taken(admission, 5.0) == 1
    for _ in range(200):
        with admission.admitted(5.0):
            clock(0.05)
    assert most_taken(admission, 5.0) == 32


def test_what_fails_early_says_nothing_and_what_fails_late_does(clock):
    admission = Admission(32)
    answered(admission, clock, 0.25)
    before = most_taken(admission, 4.0)
    for _ in range(50):
        answered(admission, clock, 0.0, ValueError())
    assert most_taken(admission, 4.0) == before
    answered(admission, clock, 2.0, ValueError())
    assert most_taken(admission, 4.0) < before


async def test_a_file_without_a_volume_is_told():
    with pytest.raises(NotReady, match="EKIBEN_CHAIN_VOLUME is not set here"):
        await Receiver(None, 1000).asked("0" * 32)


# Settings, tensors


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRANSPORT", "pigeon", "EKIBEN_CHAIN_TRANSPORT=pigeon must be http or volume"),
        ("TRANSPORT", "volume", "EKIBEN_CHAIN_TRANSPORT=volume needs EKIBEN_CHAIN_VOLUME"),
        ("TIMEOUT_MS", "0", "EKIBEN_CHAIN_TIMEOUT_MS=0.0 must be at least 1"),
        ("MODEL_AT", "model", "EKIBEN_CHAIN_MODEL_AT=model: 'model' must be host:port"),
        ("PREPROCESS_AT", "a:1,b:x", "EKIBEN_CHAIN_PREPROCESS_AT=a:1,b:x: 'b:x' must be host:port"),
    ],
)
def test_a_wrong_setting_names_the_variable_its_value_and_what_is_allowed(name, value, words):
    with pytest.raises(ValueError, match=words):
        ChainSettings.read({f"EKIBEN_CHAIN_{name}": value})


@pytest.mark.parametrize("model", ["", "iris", "cats"])
def test_a_model_without_files_is_refused_by_name(model):
    with pytest.raises(ValueError, match=f"EKIBEN_CHAIN_MODEL={model} must be a model that takes a file: there is"):
        ChainSettings.read({"EKIBEN_CHAIN_MODEL": model}).chained()


def test_addresses_are_hosts_and_ports():
    assert addresses("model:5001, 127.0.0.1:5011") == [("model", 5001), ("127.0.0.1", 5011)]


def test_a_reply_that_cannot_be_read_is_an_error_of_the_engine():
    signature = contract.model(MODEL).signature
    with pytest.raises(Exception, match="the model stage's reply cannot be read"):
        tensors.outputs(signature, Message({"inference-header-content-length": "2"}, b"{}"))
