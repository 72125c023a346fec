"""Uploads that would take more memory than a small container has: refused in words, and nobody is killed."""

import asyncio
import gzip
import io
from collections import Counter

import httpx
import pytest
from PIL import Image

from tests.container.conftest import docker, logs, running
from tests.survival.conftest import IRIS

pytestmark = pytest.mark.container
SIDE = 5000  # 25 megapixels, as many as are allowed
CLIENTS = 64
SMALL_BOX = ("--memory=512m", "--memory-swap=512m")
JSON = {"content-type": "application/json"}
V2 = b'{"inputs":[{"name":"image","shape":[1024,1,28,28],"datatype":"FP32","data":[%b]}]}'


def picture(kind, mode, **options):
    written = io.BytesIO()
    Image.new(mode, (SIDE, SIDE), (255, 255, 255, 255)[: len(mode)]).save(written, kind, **options)
    return written.getvalue()


def hostile_requests():
    """Path, body and headers of what takes most memory for what it costs to send."""
    rgba = picture("PNG", "RGBA")
    assert len(rgba) < 200_000
    long = V2 % b",".join([b"0.1234567890123456"] * (1024 * 784))
    for data, kind in ((rgba, "png"), (picture("WEBP", "RGB", quality=1), "webp")):
        yield "/digits/classify", data, {"content-type": f"image/{kind}"}
    yield "/digits/classify", picture("JPEG", "RGB", progressive=True, quality=1), {"content-type": "image/jpeg"}
    yield "/v2/models/digits/infer", long, JSON
    yield "/v2/models/digits/infer", gzip.compress(long, 1), {**JSON, "content-encoding": "gzip"}
    yield "/iris/classify", b"[%b]" % b",".join([b"{}"] * 5_000_000), JSON
    yield (
        "/iris/classify",
        gzip.compress(b"[%b]" % b",".join([b"{}"] * 4_000_000), 1),
        {**JSON, "content-encoding": "gzip"},
    )


async def flood(url, requests):
    """What became of requests that are all sent at once, and of good ones meanwhile."""
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as http:
        posts = [asyncio.create_task(http.post(path, content=body, headers=head)) for path, body, head in requests]
        good = Counter()
        while not all(task.done() for task in posts):
            good[(await http.post("/iris/classify", json=IRIS)).status_code] += 1
            await asyncio.sleep(0.02)
        return [await task for task in posts], good


def test_hostile_uploads_kill_nobody_and_good_requests_are_answered(slim):
    with running(slim, *SMALL_BOX, "--cpus=2") as box:
        kinds = list(hostile_requests())
        rgba = kinds[0]
        for requests in ([rgba] * CLIENTS, 3 * kinds):
            answers, good = asyncio.run(flood(box.url, requests))
            statuses = Counter(answer.status_code for answer in answers)
            assert set(statuses) <= {200, 400, 413, 429, 503}, statuses
            assert all("retry-after" in a.headers for a in answers if a.status_code in (429, 503))
            assert set(good) == {200}, good
        assert "is gone" not in logs(box.identity)
        assert docker("inspect", "--format={{.State.OOMKilled}} {{.State.Running}}", box.identity) == "false true"
        answer = httpx.post(f"{box.url}{rgba[0]}", content=rgba[1], headers=rgba[2], timeout=30)
        assert answer.status_code in (200, 400), answer.text  # alone it is decoded: no digit is on it
