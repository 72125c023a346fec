"""A runner over BentoML's own CorkDispatcher, to hold one against the other: EKIBEN_DISPATCHER=bentoml."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from bentos.contract import Signature
from serving.errors import Overloaded
from serving.jobs import Client, Job, Waiter, settle
from serving.metrics import Recorder
from serving.runner import Observe
from serving.sessions import Batch, Session, check_outputs


class BentoDispatcherRunner:
    """The same interface over BentoML's own CorkDispatcher, to hold one against the other."""

    def __init__(
        self,
        session: Session,
        signature: Signature,
        recorder: Recorder,
        *,
        max_batch_size: int,
        max_latency: float,
        max_queue_rows: int,
        observe: Observe = lambda inputs, outputs: None,
    ) -> None:
        self.delivering: Job | None = None
        from bentoml._internal.marshal.dispatcher import CorkDispatcher

        def overloaded() -> None:
            raise Overloaded("BentoML's dispatcher is overloaded")

        self._session, self._signature, self._recorder, self._observe = session, signature, recorder, observe
        dispatcher: Any = CorkDispatcher(
            max_latency_in_ms=int(max_latency * 1e3),
            max_batch_size=max_batch_size,
            fallback=overloaded,
            get_batch_size=lambda item: len(item[0]),
        )
        self._infer = dispatcher(self._run)
        self._dispatcher = dispatcher

    def submit(self, inputs: Batch, rows: int, client: Client | None = None) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._infer(inputs))

    def enqueue(self, inputs: Batch, rows: int, waiter: Waiter, client: Client | None = None) -> None:
        settle(self.submit(inputs, rows, client), waiter)

    @property
    def pending(self) -> int:
        return 0  # nor what waits

    @property
    def held(self) -> float:
        return 0.0  # the dispatcher keeps to itself what it holds

    full = None  # it refuses by itself, once it is asked

    def _run(self, batches: Sequence[Batch]) -> list[list[np.ndarray]]:
        batch = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
        rows = len(batch[0])
        started = perf_counter()
        outputs = self._session.run(batch)
        self._recorder.infer.append(perf_counter() - started)
        self._recorder.batch.append(rows)
        check_outputs(outputs, self._signature, rows)
        self._observe(batch, outputs)
        stops = np.cumsum([len(inputs[0]) for inputs in batches])[:-1]
        return [list(parts) for parts in zip(*(np.split(array, stops) for array in outputs), strict=True)]

    def close(self) -> None:
        self._dispatcher.shutdown()
