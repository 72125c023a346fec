"""Health in words, and for probes: whether this process lives, whether it is ready, and each model's forms.

`/livez` is 503 when only a new process can help; a supervisor or an orchestrator starts one. `/readyz` and `/health`
are 503 also while a model is missing and from SIGTERM on, while requests are still answered.
"""

from __future__ import annotations

from typing import Any

from bentos.certificate import Certificate, plain
from serving.api.faults import in_force
from serving.errors import NotReady
from serving.http.router import Receive, Routes, Scope, Send, get, send_json
from serving.inference.repository import Repository
from serving.process.drain import Drain
from serving.process.vitals import Vitals


def routes(repository: Repository) -> Routes:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, report(repository), 503 if unready(repository) else 200)

    return {
        "/health": {"GET": app, "HEAD": app},
        "/livez": get(lambda _: or_refuse("alive", Vitals.sick)),
        "/readyz": get(lambda _: or_refuse("ready", unready(repository))),
    }


def unready(repository: Repository) -> str:
    """Why requests should go elsewhere; empty while they are welcome."""
    if Drain.begun:
        return "this process ends; what it has accepted is answered"
    return Vitals.sick or ("" if repository.ready else "not every model is ready; GET /health says why")


def or_refuse(state: str, reason: str) -> dict[str, bool]:
    """`{"ready": true}`, or NotReady with the reason."""
    if reason:
        raise NotReady(reason)
    return {state: True}


def report(repository: Repository) -> dict[str, Any]:
    """`status` is ok, degraded (a form is refused, each model answers), draining (it ends) or unready."""
    status = "degraded" if repository.refused else "ok"
    if reason := unready(repository):
        status = "draining" if Drain.begun else "unready"
    faults = {} if repository.faults is None else {"faults": in_force(repository.faults)}
    why = {"reason": reason} if reason else {}
    return {"status": status, **why, **faults, "models": {name: _model(name, repository) for name in repository.models}}


def _figures(certificate: Certificate) -> dict[str, Any]:
    """The metrics, with the intervals of those that are shares of rows, and what conversion changed, in words."""
    comparison = {} if certificate.comparison is None else {"conversion": certificate.comparison.words()}
    return {"metrics": certificate.metrics, "intervals": plain(certificate.intervals), **comparison}


def _model(name: str, repository: Repository) -> dict[str, Any]:
    forms: dict[str, Any] = {
        served.form: {"version": served.version, "ready": True, **_figures(served.stored.certificate)}
        for served in repository.forms(name)
    }
    for refused in repository.refused.values():
        if refused.model == name:
            forms[refused.form] = {"version": refused.version, "ready": False, "reason": refused.refusal}
    best = repository.served.get(name)
    return {"ready": best is not None, "default": best.form if best else None, "forms": forms}
