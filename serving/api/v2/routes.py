"""Every V2 path, exactly: what is served, under each of its names and versions, and what is refused."""

from __future__ import annotations

from serving import VERSION
from serving.api import health
from serving.api.refusals import Unavailable
from serving.api.v2 import describe
from serving.api.v2.infer import InferHandler
from serving.http.endpoint import Endpoint, get
from serving.http.gateway import Routes
from serving.http.messages import Request, Response, json_response
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.repository import Repository
from serving.inference.store import RefusedForm
from serving.lifecycle import Lifecycle

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


def routes(repository: Repository, plane: DataPlane, lifecycle: Lifecycle) -> Routes:
    """The whole of V2, of this moment: path → method → handler."""
    table: Routes = {
        "/v2": get(lambda _: {"name": "ekiben", "version": VERSION, "extensions": EXTENSIONS}),
        "/v2/health/live": get(lambda _: health.ok_or_503("live", lifecycle.sick)),
        "/v2/health/ready": get(lambda _: health.ok_or_503("ready", health.unready_reason(repository, lifecycle))),
        "/v2/models/stats": get(lambda _: {"model_stats": describe.all_statistics(repository)}),
        "/v2/repository/index": {"POST": _index(repository)},
    }
    for name, served in repository.served.items():
        for base in _bases(name, served.version):
            table |= _model(base, name, served, repository, plane)
    for name, refused in repository.refused.items():
        for base in _bases(name, refused.version):
            table |= _refused(base, refused, repository)
    return table


def _model(base: str, name: str, served: LoadedForm, repository: Repository, plane: DataPlane) -> Routes:
    return {
        base: get(lambda _: describe.metadata(name, served)),
        f"{base}/ready": get(lambda _: {"name": name, "ready": True}),
        f"{base}/config": get(lambda _: describe.configuration(name, served, repository)),
        f"{base}/stats": get(lambda _: {"model_stats": [describe.statistics(name, served, repository)]}),
        f"{base}/infer": {"POST": InferHandler(name, served, repository, plane)},
    }


def _refused(base: str, refused: RefusedForm, repository: Repository) -> Routes:
    return {
        f"{base}/ready": get(lambda _: health.ok_or_503("ready", refused.refusal)),
        f"{base}/infer": {"POST": Unavailable(refused, repository.families)},
    }


def _bases(name: str, version: str) -> tuple[str, str]:
    return f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"


def _index(repository: Repository) -> Endpoint:
    def respond(_: Request) -> Response:
        return json_response(index(repository))

    return Endpoint(respond, repository.settings.max_body_bytes)


def index(repository: Repository) -> list[dict[str, str]]:
    """Every form by its names, and whether it answers."""
    rows = [_state(name, s.version, "READY", "") for name, s in repository.served.items()]
    rows += [_state(name, s.version, "UNAVAILABLE", s.refusal) for name, s in repository.refused.items()]
    return sorted(rows, key=lambda row: row["name"])


def _state(name: str, version: str, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}
