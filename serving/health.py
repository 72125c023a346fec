"""Health in words: the status, and each model's forms with their versions, accuracy and, if refused, the reason."""

from __future__ import annotations

from typing import Any

from serving.faults import in_force
from serving.http import Receive, Routes, Scope, Send, send_json
from serving.repository import Repository


def routes(repository: Repository) -> Routes:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, report(repository), 200 if repository.ready else 503)

    return {"/health": {"GET": app, "HEAD": app}}


def report(repository: Repository) -> dict[str, Any]:
    """`status` is ok, degraded (a form is refused, each model answers) or unready."""
    status = "unready" if not repository.ready else "degraded" if repository.refused else "ok"
    faults = {} if repository.faults is None else {"faults": in_force(repository.faults)}
    return {"status": status, **faults, "models": {name: _model(name, repository) for name in repository.models}}


def _model(name: str, repository: Repository) -> dict[str, Any]:
    forms: dict[str, Any] = {
        served.form: {"version": served.version, "ready": True, "metrics": served.stored.certificate["metrics"]}
        for served in repository.forms(name)
    }
    for refused in repository.refused.values():
        if refused.model == name:
            forms[refused.form] = {"version": refused.version, "ready": False, "reason": refused.refusal}
    best = repository.served.get(name)
    return {"ready": best is not None, "default": best.form if best else None, "forms": forms}
