"""What a refused form answers: 503 with the reason, counted like any failure of the service."""

from __future__ import annotations

from serving.errors import NotReady
from serving.http.router import App, Receive, Scope, Send
from serving.inference.repository import Repository
from serving.inference.store import RefusedForm


def unavailable(refused: RefusedForm, repository: Repository) -> App:
    failures = repository.families.failures.labels(refused.model, refused.form, refused.version, NotReady.reason)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        failures.inc()
        raise NotReady(refused.refusal)

    return app
