"""Every form at every batch size, in rounds; and each form alone, for the memory that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from loadtest.openloop.loads import Load
from loadtest.progress import Progress
from loadtest.service.cores import Cores
from loadtest.service.process import HOST, ServiceError, models
from loadtest.service.questions import Questioner
from loadtest.service.run import Limit, Run
from loadtest.service.stand import Stand

BATCHES = (1, 8, 32, 128)
ROUNDS = 3
SECONDS, WARMUP, AROUND = 0.8, 0.3, 0.8  # of a shot; around it: the generator's start, the scrapes
BUSY_CONNECTIONS = 4  # for the rate: the engine never waits for the next request; one alone gives the latency
START_SECONDS = 6.0
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

    def engine(self, batch: int) -> float:
        """ms of one engine call, by the service's own histogram."""
        return float(median(run.infer for run in self.alone[batch]))


def measure(model: str, cores: Cores, logs: Path) -> list[Form]:
    """All forms of a model that the service finds ready, as trained first, then the largest first."""
    service_log = logs / "service.log"
    with Stand(Questioner(model, binary=True), cores, service_log) as stand:
        health = stand.service(ONE_EACH).json("/health")["models"].get(model, {"forms": {}})
    versions = {name: of_form["version"] for name, of_form in health["forms"].items() if of_form["ready"]}
    if not versions:
        raise ServiceError(f"no form of {model!r} is ready: run `make models`, or see `bentoml models list`")
    forms = [Form(name, certificate(model, name, version)) for name, version in versions.items()]
    forms.sort(key=lambda form: (not form.trained, -form.bytes))
    shots = ROUNDS * 2 * len(BATCHES) + 1
    shot = SECONDS + WARMUP + AROUND
    progress = Progress(len(forms) * (START_SECONDS + shots * shot) + len(BATCHES) * START_SECONDS)
    spent = 0.0
    for form in forms:
        form.memory_mb = alone(model, form.name, cores, service_log)
        spent += START_SECONDS + shot
        progress.say(f"{form.name} alone: {form.memory_mb:.0f} MB", spent)
    for batch in BATCHES:
        for form in at_batch(model, forms, batch, cores, service_log):
            spent += 2 * shot
            progress.say(f"batch {batch}, {form.name}: {form.rows_per_second(batch):,.0f} rows/s", spent)
        spent += START_SECONDS
    progress.close()
    return forms


def alone(model: str, form: str, cores: Cores, log: Path) -> float:
    """MB of a service with this form only, once it has answered the largest batches."""
    settings = {**ONE_EACH, "EKIBEN_FORMS": form, "EKIBEN_MAX_BATCH_SIZE": str(max(BATCHES))}
    with Stand(Questioner(model, binary=True, rows=max(BATCHES)), cores, log) as stand:
        target = stand.target(settings, form)
        return shot_of(
            target.run(Load(HOST, target.service.port, 0.0, BUSY_CONNECTIONS, SECONDS, WARMUP), ANY)
        ).memory_mb


def at_batch(model: str, forms: Sequence[Form], batch: int, cores: Cores, log: Path) -> Iterator[Form]:
    """Requests of `batch` rows, each an engine call, form by form in rounds; yields after each form."""
    with Stand(Questioner(model, binary=True, rows=batch), cores, log) as stand:
        for _ in range(ROUNDS):
            for form in forms:
                target = stand.target({**ONE_EACH, "EKIBEN_MAX_BATCH_SIZE": str(batch)}, form.name)
                for runs, connections in ((form.busy, BUSY_CONNECTIONS), (form.alone, 1)):
                    load = Load(HOST, target.service.port, 0.0, connections, SECONDS, WARMUP)
                    runs.setdefault(batch, []).append(shot_of(target.run(load, ANY)))
                yield form


def shot_of(run: Run) -> Run:
    if run.rejected:
        raise ServiceError(run.rejected)
    return run


def certificate(model: str, form: str, version: str) -> Mapping[str, Any]:
    """Of a stored form, as the store keeps it beside the file."""
    written = yaml.safe_load((models() / f"{model}-{form}" / version / "model.yaml").read_text())
    found: Mapping[str, Any] = written["metadata"]["certificate"]
    return found
