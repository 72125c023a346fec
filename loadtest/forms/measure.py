"""Every form at every batch size, in rounds; and each form alone, for the memory that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from loadtest.machine import Cores
from loadtest.measurement import Limit, Run
from loadtest.openloop.load import Load
from loadtest.pool import ServicePool, Target
from loadtest.progress import Progress
from loadtest.service import HOST, ServiceError, models
from loadtest.workload import Workload

BATCHES = (1, 8, 32, 128)
ROUNDS = 3
SECONDS, WARMUP = 0.8, 0.3
BUSY_CONNECTIONS = 4  # for the rate: the engine never waits for the next request; one alone gives the latency
ONE_EACH = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1"}
ANY = Limit(0.99, 10.0)


@dataclass
class Form:
    """One form's figures: runs by batch size, of a busy engine and of one request at a time; and its certificate."""

    name: str
    certificate: Mapping[str, Any]
    memory_mb: float = 0.0
    busy: dict[int, list[Run]] = field(default_factory=dict)
    alone: dict[int, list[Run]] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether the others are held against this one: `pytorch as trained`."""
        return bool(self.certificate["difference"]["against"].split()[0] == self.name)

    @property
    def bytes(self) -> int:
        return int(self.certificate["file"]["bytes"])

    def rows_per_second(self, batch: int) -> float:
        return batch * median(run.achieved for run in self.busy[batch])

    def latency(self, batch: int, name: str = "p50") -> float:
        """ms of one request at a time."""
        return float(median(getattr(run, name) for run in self.alone[batch]))


def measure(model: str, cores: Cores, logs: Path) -> list[Form]:
    """All forms of a model that the service finds ready, as trained first, then the largest first. ServiceError"""
    log = logs / "service.log"
    with ServicePool(Workload(model, binary=True), cores, log) as pool:
        health = pool.service(ONE_EACH).json("/health")["models"].get(model, {"forms": {}})
    versions = {name: of_form["version"] for name, of_form in health["forms"].items() if of_form["ready"]}
    if not versions:
        raise ServiceError(f"no form of {model!r} is ready: run `make models`, or see `bentoml models list`")
    forms = [Form(name, certificate(model, name, version)) for name, version in versions.items()]
    forms.sort(key=lambda form: (not form.trained, -form.bytes))
    progress = Progress(len(forms) * (1 + len(BATCHES) * ROUNDS))
    for form in forms:
        form.memory_mb = memory_alone(model, form.name, cores, log)
        progress.tell(f"{form.name} alone: {form.memory_mb:.0f} MB")
    for batch in BATCHES:
        for form in at_batch(model, forms, batch, cores, log):
            progress.tell(f"batch {batch}, {form.name}: {form.rows_per_second(batch):,.0f} rows/s")
    progress.close()
    return forms


def memory_alone(model: str, form: str, cores: Cores, log: Path) -> float:
    """MB of a service with this form only, once it has answered the largest batches. ServiceError"""
    settings = {**ONE_EACH, "EKIBEN_FORMS": form, "EKIBEN_MAX_BATCH_SIZE": str(max(BATCHES))}
    with ServicePool(Workload(model, binary=True, rows=max(BATCHES)), cores, log) as pool:
        return run_closed(pool.target(settings, form), BUSY_CONNECTIONS).memory_mb


def at_batch(model: str, forms: Sequence[Form], batch: int, cores: Cores, log: Path) -> Iterator[Form]:
    """Requests of `batch` rows, each an engine call, form by form in rounds; yields after each form. ServiceError"""
    with ServicePool(Workload(model, binary=True, rows=batch), cores, log) as pool:
        for _ in range(ROUNDS):
            for form in forms:
                target = pool.target({**ONE_EACH, "EKIBEN_MAX_BATCH_SIZE": str(batch)}, form.name)
                for runs, connections in ((form.busy, BUSY_CONNECTIONS), (form.alone, 1)):
                    runs.setdefault(batch, []).append(run_closed(target, connections))
                yield form


def run_closed(target: Target, connections: int) -> Run:
    """One closed loop. ServiceError if it counts for nothing"""
    run = target.run(Load(HOST, target.service.port, 0.0, connections, SECONDS, WARMUP), ANY)
    if run.rejected:
        raise ServiceError(run.rejected)
    return run


def certificate(model: str, form: str, version: str) -> Mapping[str, Any]:
    """Of a stored form, as the store keeps it beside the file."""
    document = yaml.safe_load((models() / f"{model}-{form}" / version / "model.yaml").read_text())
    metadata: Mapping[str, Any] = document["metadata"]
    return dict(metadata["certificate"])
