"""A request that waits for a runner, and its answer: the same whether it came by ASGI or below it.

No task, no future and no turn of the event loop lies between the engine's outputs and the bytes of the answer: the
runner hands the outputs to the exchange, which writes them and gives them to whoever is connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, ClassVar, Protocol

import numpy as np

from serving.errors import ServingError, foreseen
from serving.http.router import Header
from serving.inference.repository import Served
from serving.telemetry.logs import REQUESTS

# Body, content type, further headers.
Written = tuple[bytes, Header, tuple[Header, ...]]


class Peer(Protocol):
    """Who asked. Told once, by one of the two."""

    trace: bytes

    @property
    def disconnected(self) -> bool: ...

    def answer(self, body: bytes, kind: Header, further: tuple[Header, ...] = ()) -> None: ...

    def refuse(self, error: ServingError) -> None: ...


class Taker(Protocol):
    """What takes the requests that begin with one head."""

    @property
    def full(self) -> ServingError | None:
        """Why none can be taken now, which is known before there is a body."""

    @property
    def take(self) -> Take:
        """Takes a whole body and sees to it that the peer is told."""

    def refuse(self, error: ServingError, peer: Peer) -> None:
        """Count and tell what was `full`."""


Take = Callable[[bytes, Peer], None]


class Taking:
    """Takes requests of one interface to one form, while its runner has room."""

    __slots__ = ("_interface", "_served", "take")

    def __init__(self, interface: str, served: Served, take: Take) -> None:
        self._interface, self._served, self.take = interface, served, take

    @property
    def full(self) -> ServingError | None:
        return self._served.runner.full

    def refuse(self, error: ServingError, peer: Peer) -> None:
        refuse(self._interface, self._served, error, peer)


def refuse(interface: str, served: Served, error: ServingError, peer: Peer) -> None:
    """Count, log and tell an error."""
    served.recorder.failed(error)
    REQUESTS.failed(peer.trace, error, (*served.recorder.labels, interface))
    peer.refuse(error)


class Exchange:
    """A request; to the runner, who waits for its outputs."""

    __slots__ = ("_asked", "_done", "_peer", "_served", "_started")

    interface: str  # v2 or native, as the metrics call them
    _tasks: ClassVar[set[asyncio.Task[None]]] = set()  # the loop itself would let them be collected

    def __init__(self, peer: Peer, served: Served) -> None:
        self._peer, self._served = peer, served
        self._done = False
        self._started = perf_counter()

    def written(self, results: list[np.ndarray]) -> Written:
        """The answer in bytes."""
        raise NotImplementedError

    def ask(self, served: Served, rows: int, inputs: list[np.ndarray]) -> None:
        """Queue the rows for a form's engine. Overloaded"""
        self._served = served
        self._asked = perf_counter()
        served.recorder.preprocess.append(self._asked - self._started)
        served.runner.enqueue(inputs, rows, self, self._peer)

    def later(self, step: Coroutine[Any, Any, None]) -> None:
        """Go on in a task, where the way to `ask` takes a while; an error in it is the answer."""

        async def stepped() -> None:
            try:
                await step
            except Exception as error:
                self.set_exception(error)

        task = asyncio.get_running_loop().create_task(stepped())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def done(self) -> bool:
        return self._done

    def set_result(self, results: list[np.ndarray], /) -> None:
        computed = perf_counter()
        try:
            body, kind, further = self.written(results)
        except Exception as error:
            return self.set_exception(error)
        self._done = True
        self._peer.answer(body, kind, further)
        ended = perf_counter()
        recorder = self._served.recorder
        recorder.postprocess.append(ended - computed)
        getattr(recorder, self.interface).append(ended - self._started)
        if REQUESTS.answers.take(ended):
            who = (*recorder.labels, self.interface)
            REQUESTS.answered(self._peer.trace, who, self._said(computed, ended))

    def set_exception(self, error: Exception, /) -> None:
        self._done = True
        refuse(self.interface, self._served, foreseen(error, self._peer.trace), self._peer)

    def _said(self, computed: float, ended: float) -> dict[str, float]:
        """What the log says of an answer: rows, and milliseconds by stage."""
        spans = {"preprocess": (self._started, self._asked), "postprocess": (computed, ended)}
        said: dict[str, float] = {}
        if (job := self._served.runner.delivering) is not None:  # a request of several batches has no one of its own
            said = {"rows": job.rows, "batch_rows": job.run.rows}
            spans["queue"] = (job.arrived, job.run.started)
            spans["infer"] = (job.run.started, job.run.started + job.run.seconds)
        spans["request"] = (self._started, ended)
        return said | {f"{stage}_ms": round((end - start) * 1e3, 3) for stage, (start, end) in spans.items()}
