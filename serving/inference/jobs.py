"""What is asked of a runner, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np

from serving.errors import EngineError, Overloaded


class Client(Protocol):
    """Who waits for an answer."""

    @property
    def disconnected(self) -> bool:
        """Whether nobody is there to read an answer: it is not computed then."""


def is_synthetic(client: Client | None) -> bool:
    """Whether a client that may say so has said that its rows are a load test's; most clients say nothing."""
    return getattr(client, "synthetic", False)


class Waiter(Protocol):
    """Whom the outputs are given to; an asyncio.Future is one."""

    def done(self) -> bool:
        """Whether it has its outputs or its error, or wants none any more."""

    def set_result(self, outputs: list[np.ndarray], /) -> None:
        """Take the outputs."""

    def set_exception(self, error: Exception, /) -> None:
        """Take the error."""


class Runner(Protocol):
    """What the interfaces know of a runner."""

    def submit(self, inputs: Sequence[np.ndarray], n_rows: int, client: Client | None = None) -> asyncio.Future[Any]:
        """The outputs of (rows, …) arrays, for who can wait. Overloaded, DeadlineExceeded, EngineError"""

    def enqueue(
        self, inputs: Sequence[np.ndarray], n_rows: int, waiter: Waiter, client: Client | None = None, now: float = 0.0
    ) -> None:
        """`now` spares a reading of perf_counter where the caller has just had one."""

    def enqueue_each(
        self, batches: Sequence[Sequence[np.ndarray]], waiter: Waiter, client: Client | None = None
    ) -> None:
        """The rows of one request, which may differ in shape, each on its own; the outputs are joined."""

    @property
    def held(self) -> float:
        """Seconds since the oldest request came that the engine's thread holds; 0 while it is idle."""

    @property
    def pending(self) -> int:
        """Rows that wait."""

    @property
    def wait(self) -> float:
        """Seconds of work that the engine has and that waits for it, as far as calls so far tell."""

    @property
    def overload_error(self) -> Overloaded | None:
        """Why not even one row more could be answered in time: an error that is made once, and not to be raised."""

    @property
    def delivering(self) -> Job | None:
        """The job whose waiter is being given its outputs."""

    def close(self) -> None:
        """End the engine's thread once it has done what it holds."""


class Run(NamedTuple):
    """One engine call: rows of its batch, when it began, and seconds that it took."""

    n_rows: int
    started: float
    seconds: float


class Job:
    """A request's share of a batch; `run` is there once it was computed.

    `cost` is what EngineTime is told: rows where they are alike, else the elements of its inputs. Jobs of one `key` may
    share a batch.
    """

    __slots__ = ("arrived", "client", "cost", "inputs", "key", "n_rows", "run", "waiter")

    run: Run

    def __init__(
        self,
        inputs: Sequence[np.ndarray],
        n_rows: int,
        waiter: Waiter,
        client: Client | None,
        cost: int,
        key: Hashable = None,
        now: float = 0.0,
    ) -> None:
        self.inputs = inputs
        self.n_rows = n_rows
        self.cost = cost
        self.key = key
        self.waiter = waiter
        self.client = client
        self.arrived = now or perf_counter()


def settle(future: asyncio.Future[Any], waiter: Waiter) -> None:
    """Give the waiter what becomes of the future."""

    def settled(future: asyncio.Future[Any]) -> None:
        if future.cancelled() or waiter.done():
            return
        if (error := future.exception()) is None:
            waiter.set_result(future.result())
        else:
            waiter.set_exception(error if isinstance(error, Exception) else EngineError(repr(error)))

    future.add_done_callback(settled)
