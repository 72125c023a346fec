"""The replicas of the next stage: found by name, asked in turn, and passed over for a while after they failed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import aiohttp

from serving.chain.message import TIME_LEFT, Call, Message
from serving.chain.transport import Transport
from serving.errors import DeadlineExceeded, ServingError
from serving.http.trace import TRACEPARENT

log = logging.getLogger("bentoml.ekiben")
RESOLVE_SECONDS = 1.0  # how soon a replica that came or went is noticed
REST_SECONDS = 1.0  # how long one that failed is asked only after all others
CONNECT_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 4.0  # below the 5 s after which a stage hangs up
ROUNDS = 2  # how often all are asked, since a connection may have broken while it was idle
PAUSE_SECONDS = 0.05
SHARE = 0.9  # of the time left, for whoever is asked: so that it can still say what went wrong
TRY_ANOTHER = (429, 503)

FAILURES = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class StageDown(ServingError):
    """No replica of a stage could be asked."""

    status = 503
    reason = "stage_down"
    headers = ((b"retry-after", b"1"),)


@dataclass
class Replicas:
    """The replicas of one stage, as client-side balancing sees them: `ask` gives the reply of one of them."""

    stage: str
    addresses: list[tuple[str, int]]
    transport: Transport
    retries: int = 0
    _replicas: list[str] = field(default_factory=list)
    _failed: dict[str, float] = field(default_factory=dict)
    _turn: int = 0
    _resolved: float = float("-inf")
    _resolving: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        # A pool of connections per address, each taken in turn: none is bound to one replica by its connection.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def ask(self, path: str, message: Message, call: Call) -> Message:
        """The reply of the first replica that gives one, by turns. StageDown, DeadlineExceeded"""
        deadline = perf_counter() + SHARE * call.seconds_left()
        failures: dict[str, Exception] = {}
        attempts = 0
        for number in range(ROUNDS):
            order = await self._order()
            for place, address in enumerate(order):
                seconds = (deadline - perf_counter()) / (len(order) - place)
                if seconds <= 0:
                    break
                self.retries += attempts > 0
                attempts += 1
                try:
                    reply = await self._ask(address, path, message, call, seconds)
                except FAILURES as failure:
                    failures[address] = failure
                    self._failed[address] = perf_counter()
                    log.warning("trace=%s %s at %s: %s", call.trace, self.stage, address, in_words(failure))
                    continue
                if reply.status not in TRY_ANOTHER or number or place == len(order) - 1:
                    return reply
            await asyncio.sleep(min(PAUSE_SECONDS, max(0.0, deadline - perf_counter())))
        raise self._unanswered(failures)

    def _unanswered(self, failures: dict[str, Exception]) -> ServingError:
        each = "; ".join(f"{address}: {in_words(failure)}" for address, failure in failures.items())
        if any(type(failure) is TimeoutError for failure in failures.values()):
            return DeadlineExceeded(f"the {self.stage} stage did not answer in time ({each})")
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        return StageDown(f"the {self.stage} stage is down: nobody answers at {where} ({each or 'no such name'})")

    async def _ask(self, address: str, path: str, message: Message, call: Call, seconds: float) -> Message:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))
        further = {TRACEPARENT.decode(): call.traceparent(), TIME_LEFT: str(int(seconds * 1e3))}
        async with self.transport.asking(message.body) as (headers, wire):
            request_headers = {**message.headers, **further, **headers}
            url = f"http://{address}{path}"
            async with self._session.post(url, data=wire, headers=request_headers, timeout=timeout) as response:
                raw = await response.read()
                reply_headers = {name.lower(): value for name, value in response.headers.items()}
                return Message(reply_headers, await self.transport.answered(reply_headers, raw), response.status)

    async def _order(self) -> list[str]:
        """Every replica once: another first each time, those that have just failed last."""
        await self._resolve()
        self._turn += 1
        start = self._turn % max(1, len(self._replicas))
        rested = perf_counter() - REST_SECONDS
        return sorted(
            self._replicas[start:] + self._replicas[:start], key=lambda a: self._failed.get(a, rested) > rested
        )

    async def _resolve(self) -> None:
        """Ask the DNS anew if the answer is old; who comes meanwhile goes by the old one, if there is any."""
        if self._resolving is None and perf_counter() - self._resolved > RESOLVE_SECONDS:
            self._resolving = asyncio.create_task(self._look_up())
        if not self._replicas and self._resolving is not None:
            await asyncio.wait([self._resolving])

    async def _look_up(self) -> None:
        answers = await asyncio.gather(*(_host_addresses(host, port) for host, port in self.addresses))
        self._replicas = sorted({address for addresses in answers for address in addresses})
        self._failed = {address: at for address, at in self._failed.items() if address in self._replicas}
        self._resolved = perf_counter()
        self._resolving = None

    async def states(self) -> Mapping[str, str]:
        """address → "up", or what is wrong with it now."""
        await self._resolve()
        addresses = list(self._replicas)
        return dict(zip(addresses, await asyncio.gather(*(self._state(address) for address in addresses)), strict=True))

    async def _state(self, address: str) -> str:
        try:
            async with self._session.get(
                f"http://{address}/readyz", timeout=aiohttp.ClientTimeout(total=1)
            ) as response:
                return "up" if response.status == 200 else f"answers {response.status}"
        except FAILURES as failure:
            return in_words(failure)

    async def close(self) -> None:
        """Close the connections to all of them."""
        await self._session.close()


async def _host_addresses(host: str, port: int) -> list[str]:
    """Every address of a name; none where the DNS has none, which is so while its replicas are away."""
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=1, proto=6)
    except OSError:
        return []
    hosts = [str(where[0]) for *_, where in entries]
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]


def in_words(failure: Exception) -> str:
    """Why a replica gave no answer."""
    if type(failure) is TimeoutError:
        return "no answer"
    if isinstance(failure, aiohttp.ClientConnectorError):
        return os.strerror(failure.errno) if failure.errno else "no connection"
    return str(failure) or type(failure).__name__
