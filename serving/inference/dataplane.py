"""The data plane: arrays in, arrays out, whatever protocol they came by.

A codec decodes what a client sent into arrays, submits them here, and encodes the outputs: admission, faults, metrics
and log lines of all protocols are in this one place. No task, no future and no turn of the event loop lies between the
engine's outputs and the bytes of the response: the runner hands the outputs to the pending request, which gives them
to its responder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from time import perf_counter
from typing import Any, ClassVar, Protocol

import numpy as np

from bentos.contract import Model, Signature
from serving.errors import Overloaded, ServingError, as_serving_error
from serving.inference.faults import Faults
from serving.inference.jobs import Runner
from serving.inference.store import StoredForm
from serving.memory import MemoryBudget
from serving.telemetry.logs import REQUESTS
from serving.telemetry.metrics import Recorder


@dataclass(frozen=True)
class LoadedForm:
    """One form that answers, and all that an interface needs to ask it."""

    model: Model
    stored: StoredForm
    runner: Runner
    recorder: Recorder
    flush: Callable[[], None]  # brings its metrics up to now
    count: Callable[[], None]  # of them, what was answered and what failed
    max_batch_size: int = 1  # rows of one engine call

    @property
    def form(self) -> str:
        """As in `onnx`."""
        return self.stored.form

    @property
    def version(self) -> str:
        """Of the stored model."""
        return self.stored.version

    @cached_property
    def signature(self) -> Signature:
        """The model's tensors."""
        return self.model.signature


class Responder(Protocol):
    """Who waits for the outputs, and knows what its protocol makes of them. Called once, by one of the two."""

    @property
    def trace_id(self) -> bytes:
        """What logs and errors name the request by, 32 hex digits."""

    @property
    def disconnected(self) -> bool:
        """Whether nobody is there to read a response."""

    def send_outputs(self, form: LoadedForm, outputs: list[np.ndarray]) -> None:
        """Encode and send. An exception counts as the request's failure."""

    def send_error(self, error: ServingError) -> None:
        """Send it in the protocol's words."""


class PendingRequest:
    """A request from its decoding to its response; to the runner, who waits for the outputs."""

    __slots__ = ("_begun", "_done", "_queued", "_received", "form", "interface", "responder", "route")

    _tasks: ClassVar[set[asyncio.Task[None]]] = set()  # the loop itself would let them be collected

    def __init__(self, form: LoadedForm, responder: Responder, interface: str, route: str, begun: float) -> None:
        """`interface` is the metrics' label: v2, native, grpc; `route` is what faults are told apart by; `begun` is
        when the request's first byte came."""
        self.form, self.responder, self.interface, self.route = form, responder, interface, route
        self._begun = begun
        self._done = False
        self._received = self._queued = perf_counter()

    def later(self, step: Coroutine[Any, Any, None]) -> None:
        """Go on in a task, where the way to the queue takes a while; an error in it is the response."""

        async def go_on() -> None:
            try:
                await step
            except Exception as error:
                self.set_exception(error)

        task = asyncio.get_running_loop().create_task(go_on())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def enqueue(self, inputs: Sequence[np.ndarray], n_rows: int) -> None:
        """Hand the rows to the form's runner. Overloaded"""
        self._queued = now = perf_counter()
        self.form.recorder.preprocess.append(now - self._received)
        self.form.runner.enqueue(inputs, n_rows, self, self.responder, now)

    def enqueue_each(self, batches: Sequence[Sequence[np.ndarray]]) -> None:
        """The same of rows that differ in shape, each queued on its own; their outputs are joined."""
        self._queued = perf_counter()
        self.form.recorder.preprocess.append(self._queued - self._received)
        self.form.runner.enqueue_each(batches, self, self.responder)

    def done(self) -> bool:
        """Whether it has been answered."""
        return self._done

    def set_result(self, outputs: list[np.ndarray], /) -> None:
        """Send the outputs; what the codec raises is the failure of this request."""
        computed = perf_counter()
        try:
            self.responder.send_outputs(self.form, outputs)
        except Exception as error:
            return self.set_exception(error)
        self._done = True
        ended = perf_counter()
        recorder = self.form.recorder
        recorder.postprocess.append(ended - computed)
        getattr(recorder, self.interface).append(ended - self._begun)
        if REQUESTS.answers.take(ended):
            who = (*recorder.labels, self.interface)
            REQUESTS.answered(self.responder.trace_id, who, self._timings(computed, ended))

    def set_exception(self, error: Exception, /) -> None:
        """Send an error, unless the request has been answered."""
        if self._done:  # the client or its deadline has ended it
            return
        self._done = True
        send_error(self.form, self.interface, self.responder, error)

    def _timings(self, computed: float, ended: float) -> dict[str, float]:
        """What the log says of a response: rows, and milliseconds by stage."""
        spans = {"preprocess": (self._received, self._queued), "postprocess": (computed, ended)}
        fields: dict[str, float] = {}
        if (job := self.form.runner.delivering) is not None:  # a request of several batches has no one of its own
            fields = {"rows": job.n_rows, "batch_rows": job.run.n_rows}
            spans["queue"] = (job.arrived, job.run.started)
            spans["infer"] = (job.run.started, job.run.started + job.run.seconds)
        spans["request"] = (self._begun, ended)
        return fields | {f"{stage}_ms": round((end - start) * 1e3, 3) for stage, (start, end) in spans.items()}


class DataPlane:
    """What all protocols submit their requests to."""

    def __init__(self, faults: Faults | None = None, memory: MemoryBudget | None = None) -> None:
        """`memory` is what codecs may take to read requests."""
        self._faults = faults
        self.memory = memory or MemoryBudget()

    def check_admission(self, form: LoadedForm, deadline: float | None = None) -> None:
        """Raises the Overloaded that every request to this form would meet now, whatever is in it.

        `deadline` is when its client waits no more, on perf_counter's clock: what cannot be answered by then, for all
        that waits already, is not computed. One that has passed is told where the request would be computed.
        """
        if (error := form.runner.overload_error) is not None:
            raise error
        if deadline is not None and 0 < (left := deadline - perf_counter()) < (wait := form.runner.wait):
            raise Overloaded(f"what waits is {wait * 1e3:.0f} ms of work; the deadline is in {left * 1e3:.0f} ms")

    def submit(self, pending: PendingRequest, inputs: Sequence[np.ndarray], n_rows: int) -> None:
        """Queue (n_rows, …) arrays, one per input of the signature, after the faults in force. Overloaded"""
        if self._faults is not None and self._faults.any_active():
            pending.later(self._submit_after_faults(self._faults, pending, inputs, n_rows))
        else:
            pending.enqueue(inputs, n_rows)

    async def _submit_after_faults(
        self, faults: Faults, pending: PendingRequest, inputs: Sequence[np.ndarray], n_rows: int
    ) -> None:
        pending.enqueue(await faults.inject(pending.route, inputs), n_rows)

    def submit_each(self, pending: PendingRequest, batches: Sequence[Sequence[np.ndarray]]) -> None:
        """Queue the rows of one request that may differ in shape: (1, …) arrays, one per input, of each."""
        if self._faults is not None and self._faults.any_active():
            pending.later(self._submit_each_after_faults(self._faults, pending, batches))
        else:
            pending.enqueue_each(batches)

    async def _submit_each_after_faults(
        self, faults: Faults, pending: PendingRequest, batches: Sequence[Sequence[np.ndarray]]
    ) -> None:
        inputs = iter(await faults.inject(pending.route, [array for batch in batches for array in batch]))
        pending.enqueue_each([list(islice(inputs, len(batch))) for batch in batches])

    async def infer(self, form: LoadedForm, inputs: Sequence[np.ndarray], n_rows: int, client: Any = None) -> Any:
        """The outputs, for who can wait: pages, random payloads. Raises what runners raise."""
        return await form.runner.submit(inputs, n_rows, client)


def send_error(form: LoadedForm, interface: str, responder: Responder, error: Exception) -> None:
    """Count, log and send an error of a request to this form."""
    known = as_serving_error(error, responder.trace_id)
    form.recorder.failed(known)
    REQUESTS.failed(responder.trace_id, known, (*form.recorder.labels, interface))
    responder.send_error(known)
