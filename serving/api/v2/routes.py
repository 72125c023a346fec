"""Every V2 path, exactly: what is served, under each of its names and versions, and what is refused."""

from __future__ import annotations

from serving.api import health
from serving.api.refusals import unavailable
from serving.api.v2 import describe
from serving.api.v2.infer import Infer
from serving.http.router import App, Receive, Routes, Scope, Send, get, read_body, send_json
from serving.inference.repository import Repository, Served
from serving.inference.store import RefusedForm
from serving.process.vitals import Vitals

VERSION = "0.1.0"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


def routes(repository: Repository) -> Routes:
    found: Routes = {
        "/v2": get(lambda _: {"name": "ekiben", "version": VERSION, "extensions": EXTENSIONS}),
        "/v2/health/live": get(lambda _: health.or_refuse("live", Vitals.sick)),
        "/v2/health/ready": get(lambda _: health.or_refuse("ready", health.unready(repository))),
        "/v2/models/stats": get(lambda _: {"model_stats": describe.all_statistics(repository)}),
        "/v2/repository/index": {"POST": _index(repository)},
    }
    for name, served in repository.served.items():
        for base in _bases(name, served.version):
            found |= _model(base, name, served, repository)
    for name, refused in repository.refused.items():
        for base in _bases(name, refused.version):
            found |= _refused(base, refused, repository)
    return found


def _model(base: str, name: str, served: Served, repository: Repository) -> Routes:
    return {
        base: get(lambda _: describe.metadata(name, served)),
        f"{base}/ready": get(lambda _: {"name": name, "ready": True}),
        f"{base}/config": get(lambda _: describe.configuration(name, served, repository)),
        f"{base}/stats": get(lambda _: {"model_stats": [describe.statistics(name, served, repository)]}),
        f"{base}/infer": {"POST": Infer(name, served, repository).app()},
    }


def _refused(base: str, refused: RefusedForm, repository: Repository) -> Routes:
    return {
        f"{base}/ready": get(lambda _: health.or_refuse("ready", refused.refusal)),
        f"{base}/infer": {"POST": unavailable(refused, repository)},
    }


def _bases(name: str, version: str) -> tuple[str, str]:
    return f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"


def _index(repository: Repository) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(scope, receive, repository.settings.max_body_bytes)
        rows = [_state(name, s.version, "READY", "") for name, s in repository.served.items()]
        rows += [_state(name, s.version, "UNAVAILABLE", s.refusal) for name, s in repository.refused.items()]
        await send_json(send, sorted(rows, key=lambda row: row["name"]))

    return app


def _state(name: str, version: str, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}
