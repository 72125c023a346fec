"""Other people's clients: each POSTs a body some times and gives the status and the words of each answer."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable

import aiohttp
import httpx
import requests

Answers = list[tuple[int | str, str]]  # status and the body's "error"; where there was no answer, the failure's name
Fields = dict[str, str]


def words(body: bytes | str) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _each(times: int, send: Callable[[], tuple[int, bytes]], failures: tuple[type[Exception], ...]) -> Answers:
    answers: Answers = []
    for _ in range(times):
        try:
            status, body = send()
            answers.append((status, words(body)))
        except failures as error:
            answers.append((f"{type(error).__name__}: {error}"[:100], ""))
    return answers


def by_requests(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    with requests.Session() as session:

        def send() -> tuple[int, bytes]:
            response = session.request(method, url, data=body, headers=fields, timeout=120)
            return response.status_code, response.content

        return _each(times, send, (requests.RequestException,))


def by_httpx(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    with httpx.Client(timeout=120) as client:

        def send() -> tuple[int, bytes]:
            response = client.request(method, url, content=body, headers=fields)
            return response.status_code, response.content

        return _each(times, send, (httpx.HTTPError,))


def by_urllib(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    def send() -> tuple[int, bytes]:
        request = urllib.request.Request(url, body, fields, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return _each(times, send, (OSError, http.client.HTTPException))


def by_http_client(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=120)

    def send() -> tuple[int, bytes]:
        try:
            connection.request(method, f"/{path}", body, fields)
            response = connection.getresponse()
            return response.status, response.read()
        except Exception:
            connection.close()
            raise

    try:
        return _each(times, send, (OSError, http.client.HTTPException))
    finally:
        connection.close()


def by_aiohttp(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    async def all_of_them() -> Answers:
        answers: Answers = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120)) as session:
            for _ in range(times):
                try:
                    async with session.request(method, url, data=body, headers=fields) as response:
                        answers.append((response.status, words(await response.read())))
                except (aiohttp.ClientError, TimeoutError) as error:
                    answers.append((f"{type(error).__name__}: {error}"[:100], ""))
        return answers

    return asyncio.run(all_of_them())


def by_curl(url: str, body: bytes, fields: Fields, times: int, method: str) -> Answers:
    """One curl for all, so that it keeps its connection where the server does; without `Expect: 100-continue`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        headers = [
            word for name, value in {**fields, "Expect": ""}.items() for word in ("-H", f"{name}: {value}".strip())
        ]
        command = ["curl", "-sS", "-X", method, "--max-time", "60", "-w", "\n%{http_code}\n", *headers]
        done = subprocess.run(
            [*command, "--data-binary", f"@{file.name}", *[url] * times], capture_output=True, text=True, timeout=120
        )
    lines = [line for line in done.stdout.splitlines() if line]
    said = ""
    answers: Answers = []
    for line in lines:
        if line.isdigit():
            answers.append((int(line) or done.stderr[:100], words(said)))
            said = ""
        else:
            said = line
    return answers


SENDERS = {
    "curl": by_curl,
    "requests": by_requests,
    "httpx": by_httpx,
    "urllib": by_urllib,
    "http.client": by_http_client,
    "aiohttp": by_aiohttp,
}
