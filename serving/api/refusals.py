"""What a refused form answers: 503 with the reason, counted like any failure of the service."""

from __future__ import annotations

from serving.errors import NotReady, ServingError
from serving.http.endpoint import MAX_BODY_BYTES, reject
from serving.http.messages import Request
from serving.inference.store import RefusedForm
from serving.telemetry.metrics import Metrics


class Unavailable:
    """The handler of a route whose model is refused; bodies are not read."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, refused: RefusedForm, families: Metrics) -> None:
        self._reason = refused.refusal
        labels = (refused.model, refused.form, refused.version, NotReady.reason)
        self._failures = families.failures.labels(*labels)

    def check(self, request: Request) -> None:
        """Counts the request, and raises NotReady with why the form is refused."""
        self._failures.inc()
        raise NotReady(self._reason)

    def handle(self, request: Request) -> None:
        """Never called: `check` has raised."""

    def reject(self, request: Request, error: ServingError) -> None:
        """Send the error."""
        reject(request, error)
