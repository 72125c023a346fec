"""The arrangements that are compared: one process, or three services by either transport, with one or two replicas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.chain.processes import Services
from loadtest.service.process import HOST, Service

WAYS = {"in process": "", "chain, HTTP": "http", "chain, volume": "volume"}
REPLICAS = (1, 2)


@dataclass(frozen=True)
class Arrangement:
    """One way to run the pipeline; `services` holds each stage's, and the model's replicas under one name."""

    way: str
    replicas: int
    url: str
    services: dict[str, list[Service]]

    def cpu_seconds(self) -> dict[str, float]:
        """What each stage has used until now."""
        return {stage: sum(service.cpu_seconds() for service in own) for stage, own in self.services.items()}


def started(services: Services, model: str, volume: Path) -> list[Arrangement]:
    """All arrangements, ready. The chains share the replicas of the model: only one of them is asked at a time."""
    common = {"EKIBEN_ENGINE_THREADS": "1", "EKIBEN_CHAIN_MODEL": model, "EKIBEN_CHAIN_VOLUME": str(volume)}
    whole = {
        count: services.start("service:Ekiben", {**common, "EKIBEN_MODELS": model, "EKIBEN_WORKERS": str(count)})
        for count in REPLICAS
    }
    models = [services.start("serving.chain.model:ModelStage", common) for _ in range(max(REPLICAS))]
    chains = list(_chains(services, models, common))
    services.wait()
    (route,) = (route["route"] for route in whole[1].json("/schema.json")["routes"])
    singles = [
        Arrangement("in process", count, whole[count].url + route, {"service": [whole[count]]}) for count in REPLICAS
    ]
    return singles + chains


def _chains(services: Services, models: list[Service], common: dict[str, str]) -> Iterator[Arrangement]:
    for way, transport in WAYS.items():
        for count in REPLICAS if transport else ():
            settings = {**common, "EKIBEN_CHAIN_TRANSPORT": transport}
            at = ",".join(f"{HOST}:{model.port}" for model in models[:count])
            pre = services.start("serving.chain.preprocess:PreprocessStage", {**settings, "EKIBEN_CHAIN_MODEL_AT": at})
            settings["EKIBEN_CHAIN_PREPROCESS_AT"] = f"{HOST}:{pre.port}"
            post = services.start("serving.chain.postprocess:PostprocessStage", settings)
            stages = {"postprocess": [post], "preprocess": [pre], "model": models[:count]}
            yield Arrangement(way, count, f"{post.url}/finalize", stages)
