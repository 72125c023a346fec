"""Uploads that would take more memory than a small container has: refused in words, and nobody is killed."""

import asyncio
from collections import Counter

import httpx
import pytest

from deploy.night.hostile import hostile_requests
from tests.container.conftest import docker, logs, running
from tests.survival.conftest import IRIS

pytestmark = pytest.mark.container
CLIENTS = 64
SMALL_BOX = ("--memory=512m", "--memory-swap=512m")


async def flood(url, requests):
    """What became of requests that are all sent at once, and of good ones meanwhile."""
    async with httpx.AsyncClient(base_url=url, timeout=240, limits=httpx.Limits(max_connections=None)) as http:
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
        answer = httpx.post(f"{box.url}{rgba[0]}", content=rgba[1], headers=rgba[2], timeout=240)
        assert answer.status_code in (200, 400), answer.text  # alone it is decoded: no digit is on it
