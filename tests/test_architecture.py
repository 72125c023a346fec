"""ARCHITECTURE.md against the service: the ways of two requests as Python went them, and a line for every file."""

import asyncio
import json
import re
import subprocess
import sys
import threading

import pytest

from bentos.contract import BENTOS
from serving.api import interface
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle
from serving.settings import Settings
from serving.telemetry import logs
from serving.telemetry.metrics import Metrics
from tests.conftest import ROOT
from tests.serving.http.uvicorn_server import ask, gateway, read_responses, serving

TEXT = (ROOT / "ARCHITECTURE.md").read_text()
ROOMS = ("bentos", "serving", "train", "convert", "deploy", "loadtest")
IRIS = b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
MOST_FILES = {"V2 request": 9, "picture": 12}


def files_between(marks):
    """The files that are named between two comments, in their order."""
    (part,) = re.findall(rf"<!-- {marks} -->\n(.*?)<!-- /{marks} -->", TEXT, re.DOTALL)
    return re.findall(r"`([a-z0-9_/]+\.py)`", part)


def post(path, content_type, body):
    head = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Type: " + content_type, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, b"", body])


def many_rows():
    """A V2 request of 100 rows, which is read by the longer way."""
    tensor = {"name": "features", "shape": [100, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2] * 100}
    return post(b"/v2/models/iris/infer", b"application/json", json.dumps({"inputs": [tensor]}).encode())


def request(kind):
    if kind == "picture":
        return post(b"/digits/classify", b"image/png", (BENTOS / "digits/examples/seven.png").read_bytes())
    return post(b"/v2/models/iris/infer", b"application/json", IRIS)


class Footprints:
    """The files of this repository that Python enters meanwhile, in the order of their first call."""

    def __enter__(self):
        self.files = {}
        threading.setprofile(self._step)
        sys.setprofile(self._step)
        return self.files

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)

    def _step(self, frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{ROOT}/"):
            file = name.removeprefix(f"{ROOT}/")
            if file.startswith(ROOMS):
                self.files.setdefault(file)


async def entered(sent):
    """The files that a request enters which is not the first of its kind, and the status of its response."""
    # The forms that are asked: the others are not on the way, and take a while to load.
    repository = Repository(Settings(models="iris,digits", forms="onnx,optimized"), Metrics())
    repository.load()
    logs.REQUESTS.answers = logs.line_budget(0)  # not every request has a line in the log
    try:
        async with serving(gateway(interface.routes(repository, Lifecycle()))) as port:
            await ask(port, sent)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.1)  # the connection is there
            with Footprints() as files:
                writer.write(sent)
                ((head, _),) = await read_responses(reader)
            writer.close()
    finally:
        repository.close()
    return list(files), int(head.split()[1])


@pytest.mark.parametrize("kind", MOST_FILES)
async def test_a_request_goes_the_way_that_is_written(kind, stored):
    files, status = await entered(request(kind))
    way, asked = files_between(f"way of a {kind}"), files_between(f"asked by a {kind}")
    assert status == 200
    assert len(way) <= MOST_FILES[kind]
    assert not set(way) & set(asked)
    assert set(way) <= set(files) <= {*way, *asked}  # what is asked depends on the request, and on what is due


async def test_a_long_request_asks_what_is_written(stored):
    files, status = await entered(many_rows())
    known = [*files_between("way of a V2 request"), *files_between("asked by a V2 request")]
    assert status == 200
    assert sorted(set(files) - set(known)) == sorted(files_between("asked by a long V2 request"))


@pytest.fixture
def stored(store):
    """BentoML's store in this process is the tests'."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    BentoMLContainer.model_store.set(ModelStore(store / "models"))
    yield
    BentoMLContainer.model_store.reset()


def test_every_file_has_one_line_in_the_tree_and_every_line_a_file():
    lines = re.findall(r"^- `([^`]+\.py)`: .", TEXT[TEXT.index("## Every file") :], re.MULTILINE)
    listed = subprocess.run(["git", "ls-files", *(f"{room}/**.py" for room in ROOMS)], cwd=ROOT, capture_output=True)
    there = listed.stdout.decode().split() or [
        str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")
    ]
    assert sorted(lines) == sorted(there)


def test_every_file_that_is_named_is_there():
    named = set(re.findall(rf"`((?:{'|'.join(ROOMS)})/[a-z0-9_/]+\.py)`", TEXT))
    assert not {name for name in named if not (ROOT / name).is_file()}


def test_every_class_that_is_named_is_one():
    sources = "".join(path.read_text() for path in (ROOT / "serving").rglob("*.py"))
    text = TEXT[: TEXT.index("## Every file")]
    words = set(re.findall(r"`(?:[a-z]+\.)?([A-Z][a-z]\w+)(?:\.\w+)?`", text))
    assert len(words) > 10
    assert not {word for word in words if not re.search(rf"^class {word}\b", sources, re.MULTILINE)}
