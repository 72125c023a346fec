"""Health in words, and for probes: whether this process lives, whether it is ready, and each model's forms.

`/livez` is 503 when only a new process can help; a supervisor or an orchestrator starts one. `/readyz` and `/health`
are 503 also while the models that EKIBEN_READY names do not answer and from SIGTERM on, while requests are
still answered.
"""

from __future__ import annotations

from typing import Any

from bentos.certificate import Certificate, plain
from serving.errors import NotReady
from serving.http.endpoint import Endpoint, get
from serving.http.gateway import Routes
from serving.http.messages import Response, json_response
from serving.inference.faults import in_force
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle


def routes(repository: Repository, lifecycle: Lifecycle) -> Routes:
    """`/health`, and the probes of BentoML: `/livez` is 503 where the process is sick, the others where not ready."""

    def health(_: object) -> Response:
        return json_response(report(repository, lifecycle), 503 if unready_reason(repository, lifecycle) else 200)

    return {
        "/health": {"GET": Endpoint(health)},
        "/livez": get(lambda _: ok_or_503("alive", lifecycle.sick)),
        "/readyz": get(lambda _: ok_or_503("ready", unready_reason(repository, lifecycle))),
    }


def unready_reason(repository: Repository, lifecycle: Lifecycle) -> str:
    """Why requests should go elsewhere; empty while they are welcome."""
    if lifecycle.draining:
        return "this process ends; what it has accepted is answered"
    missing = "not every model" if repository.served else "no model"
    return lifecycle.sick or ("" if repository.ready else f"{missing} is ready; GET /health says why")


def ok_or_503(state: str, reason: str) -> dict[str, bool]:
    """`{"ready": true}`. NotReady with the reason, if there is one"""
    if reason:
        raise NotReady(reason)
    return {state: True}


def report(repository: Repository, lifecycle: Lifecycle) -> dict[str, Any]:
    """`status` is ok, degraded (a form or a model is refused, the others answer), draining (it ends) or unready."""
    status = "degraded" if repository.refused else "ok"
    if reason := unready_reason(repository, lifecycle):
        status = "draining" if lifecycle.draining else "unready"
    faults = {} if repository.faults is None else {"faults": in_force(repository.faults)}
    why = {"reason": reason} if reason else {}
    return {"status": status, **why, **faults, "models": {name: _model(name, repository) for name in repository.models}}


def _figures(certificate: Certificate) -> dict[str, Any]:
    """The metrics, with the intervals of those that are shares of rows, and what conversion changed, in words."""
    comparison = {} if certificate.comparison is None else {"conversion": certificate.comparison.words()}
    return {"metrics": certificate.metrics, "intervals": plain(certificate.intervals), **comparison}


def _model(name: str, repository: Repository) -> dict[str, Any]:
    forms: dict[str, Any] = {
        served.form: {
            "version": served.version,
            "ready": True,
            "batched": served.signature.batched,
            "max_batch_size": served.max_batch_size if served.signature.batched else 0,
            **_figures(served.stored.certificate),
        }
        for served in repository.forms(name)
    }
    for refused in repository.refused.values():
        if refused.model == name:
            forms[refused.form] = {"version": refused.version, "ready": False, "reason": refused.refusal}
    best = repository.served.get(name)
    return {"ready": best is not None, "default": best.form if best else None, "forms": forms}
