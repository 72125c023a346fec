"""python -m loadtest.forms: every form of every model, or one model's forms under load, as a table in README.md.

Every form: size of its file, latency of one request at a time, and from its certificate the quality and what conversion
changed. One model, at batches of 1, 8, 32 and 128 rows: rows a second, latency, memory, size of its file, and a plot.
Starts the service itself, over your models.

  python -m loadtest.forms                     between <!-- catalogue --> and <!-- /catalogue -->; about 2 minutes
  python -m loadtest.forms --model digits      between <!-- forms --> and <!-- /forms -->; about 4 minutes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from matplotlib.ticker import NullLocator

from loadtest import figures as plots
from loadtest.documents import CHECKOUT, Progress, Section, command_line, render, table
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Run, ServicePool, Target
from loadtest.service import HOW_TO_HAVE_MODELS, ServiceError, ServiceProcess, models, run_command, serve
from loadtest.workload import Workload

LOG = Path("build/forms/service.log")
BATCHES, CATALOGUE_BATCHES = (1, 8, 32, 128), (1, 32)
ROUNDS = 3
SECONDS, WARMUP = 0.8, 0.3
BUSY_CONNECTIONS = 4  # for the rate: the engine never waits for the next request; one alone gives the latency
ONE_EACH = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1"}


@dataclass
class Form:
    """One form's figures: runs by batch size, of a busy engine and of one request at a time; and its certificate."""

    model: str
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
        """Of its file."""
        return int(self.certificate["file"]["bytes"])

    @property
    def background_cores(self) -> float:
        """The most that other programs took meanwhile."""
        return max(run.background_cores for runs in (*self.busy.values(), *self.alone.values()) for run in runs)

    def rows_per_second(self, batch: int) -> float:
        """With a busy engine."""
        return batch * median(run.achieved for run in self.busy[batch])

    def latency(self, batch: int, name: str = "p50") -> float:
        """ms of one request at a time."""
        return float(median(getattr(run, name) for run in self.alone[batch]))

    def latencies(self, batch: int) -> str:
        """p50 and p99 in ms, as a cell of a table."""
        return f"{self.latency(batch):.2f} / {self.latency(batch, 'p99'):.2f}"


def ready_forms(service: ServiceProcess, model: str = "") -> list[Form]:
    """Of one model or of all, by model, each as trained first, then the largest first. ServiceError where none is"""
    forms = [
        Form(name, form, certificate(name, form, version))
        for name, versions in service.ready_forms().items()
        for form, version in versions.items()
        if model in ("", name)
    ]
    if not forms:
        raise ServiceError(f"no form of {model or 'any model'} is ready: {HOW_TO_HAVE_MODELS}")
    return sorted(forms, key=lambda form: (form.model, not form.trained, -form.bytes))


def measure(model: str) -> list[Form]:
    """All forms of a model that the service finds ready. ServiceError"""
    with ServicePool(model, LOG) as pool:
        forms = ready_forms(pool.service(ONE_EACH), model)
    with Progress(len(forms) * (1 + len(BATCHES) * ROUNDS)) as progress:
        for form in forms:
            form.memory_mb = memory_alone(model, form.name)
            progress.tell(f"{form.name} alone: {form.memory_mb:.0f} MB")
        for batch in BATCHES:
            for form in at_batch(model, forms, batch):
                progress.tell(f"batch {batch}, {form.name}: {form.rows_per_second(batch):,.0f} rows/s")
    return forms


def memory_alone(model: str, form: str) -> float:
    """MB of a service with this form only, once it has answered the largest batches. ServiceError"""
    settings = {**ONE_EACH, "EKIBEN_FORMS": form, "EKIBEN_MAX_BATCH_SIZE": str(max(BATCHES))}
    with ServicePool(model, LOG, max(BATCHES), binary=True) as pool:
        return pool.target(settings, form).run_closed(BUSY_CONNECTIONS, SECONDS, WARMUP).memory_mb


def at_batch(model: str, forms: Sequence[Form], batch: int) -> Iterator[Form]:
    """Requests of `batch` rows, each an engine call, form by form in rounds; yields after each form. ServiceError"""
    with ServicePool(model, LOG, batch, binary=True) as pool:
        for _ in range(ROUNDS):
            for form in forms:
                target = pool.target({**ONE_EACH, "EKIBEN_MAX_BATCH_SIZE": str(batch)}, form.name)
                for runs, connections in ((form.busy, BUSY_CONNECTIONS), (form.alone, 1)):
                    runs.setdefault(batch, []).append(target.run_closed(connections, SECONDS, WARMUP))
                yield form


def certificate(model: str, form: str, version: str) -> Mapping[str, Any]:
    """Of a stored form, as the store keeps it beside the file."""
    document = yaml.safe_load((models() / f"{model}-{form}" / version / "model.yaml").read_text())
    metadata: Mapping[str, Any] = document["metadata"]
    return dict(metadata["certificate"])


def measure_catalogue(cores: Cores) -> list[Form]:
    """All forms of all models, asked one request at a time, form by form in rounds. ServiceError"""
    with serve(".", ONE_EACH, LOG, cores.pin).wait_ready() as service:
        forms = ready_forms(service)
        with Progress(len(forms) * len(CATALOGUE_BATCHES) * ROUNDS) as progress:
            for batch in CATALOGUE_BATCHES:
                workloads = {form.model: Workload(form.model, binary=True, rows=batch) for form in forms}
                targets = [
                    Target(service, f.model, f.name, workloads[f.model].requests(service, f"{f.model}-{f.name}"), cores)
                    for f in forms
                ]
                for _ in range(ROUNDS):
                    for form, target in zip(forms, targets, strict=True):
                        form.alone.setdefault(batch, []).append(target.run_closed(1, SECONDS, WARMUP))
                        progress.tell(f"{form.model} {form.name}, {batch} rows")
    return forms


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where no form is ready"""
    parser = command_line("loadtest.forms", __doc__)
    parser.add_argument("--model", help="its forms under load, as in /v2/models/MODEL (every form of every model)")
    parser.add_argument(
        "--document", type=Path, default=CHECKOUT / "README.md", help="what holds the marks (README.md)"
    )
    options = parser.parse_args(words)
    section, cores = Section(options.document, "forms" if options.model else "catalogue").check(), Cores.split()
    print(cores, file=sys.stderr)
    where = f"{describe()}; {cores}"
    if not options.model:
        section.publish(catalogue(measure_catalogue(cores), where))
        return
    forms = measure(options.model)
    picture = Path("docs/forms.png")
    draw(options.model, forms, section.path.parent / picture, where)
    section.publish(markdown(options.model, forms, where, str(picture)), picture)


def markdown(model: str, forms: Sequence[Form], where: str, picture: str) -> str:
    """Rate at each batch, p50 / p99 at each batch, and what a form weighs and is worth."""
    head = [model, *(f"rows/s, batch {batch}" for batch in BATCHES), *(f"ms, batch {batch}" for batch in BATCHES)]
    rows = [
        [
            f"`{form.name}`",
            *(f"**{form.rows_per_second(batch):,.0f}**" for batch in BATCHES),
            *(form.latencies(batch) for batch in BATCHES),
            f"{form.memory_mb:.0f}",
            f"{form.bytes / 1024:,.0f}",
        ]
        for form in forms
    ]
    return document(forms, where, table([*head, "memory, MB", "file, KiB"], rows), picture)


def document(forms: Sequence[Form], where: str, table: str, picture: str = "") -> str:
    """A table and how it was measured: with a picture that of one model's forms, without that of all."""
    busy = busy_warning(max(form.background_cores for form in forms))
    values = {"connections": BUSY_CONNECTIONS, "rounds": ROUNDS, "seconds": SECONDS, "where": where, "busy": busy}
    return render(Path(__file__).with_suffix(".md"), table=table, picture=picture, **values)


def draw(model: str, forms: Sequence[Form], path: Path, caption: str) -> None:
    """Rate and latency against the batch, a line per form."""
    with plots.figure(path, f"{model}: the forms under load", caption, (10.4, 4.2), ncols=2) as axes:
        for axis, figure, title, shape in (
            (axes[0], Form.rows_per_second, "rows a second, busy engine", "{x:,.0f}"),
            (axes[1], Form.latency, "median latency of one request, ms", "{x:g}"),
        ):
            for form, colour in zip(forms, plots.SERIES, strict=False):
                axis.plot(BATCHES, [figure(form, b) for b in BATCHES], "o-", color=colour, label=form.name)
            axis.set_xscale("log", base=2)
            axis.set(yscale="log", title=title, xlabel="rows of a request, and of an engine call")
            axis.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
            axis.xaxis.set_minor_locator(NullLocator())
            plots.plain_numbers(axis, y=shape)
        axes[0].legend()


def catalogue(forms: Sequence[Form], where: str) -> str:
    """A row for each form, and how it was measured."""
    heads = ["model", "form", "file, KiB", *(f"ms, batch {batch}" for batch in CATALOGUE_BATCHES), "held-out quality"]
    rows = [
        [
            form.model,
            f"`{form.name}`",
            f"{form.bytes / 1024:,.0f}",
            *(form.latencies(batch) for batch in CATALOGUE_BATCHES),
            scored(form.certificate),
            "" if form.trained else conversion(form.certificate),
        ]
        for form in forms
    ]
    return document(forms, where, table([*heads, "changed by conversion"], rows))


def scored(of: Mapping[str, Any]) -> str:
    """`accuracy 0.9972 (0.9846–0.9999), n = 360`; without interval where it is no share of rows."""
    name, value = next(iter(of["metrics"].items()))
    interval = of.get("intervals", {}).get(name)
    between = f" ({interval['low']:.4f}–{interval['high']:.4f})" if interval else ""
    return f"{name} {value:.4f}{between}, n = {of['difference']['rows']:,}"


def conversion(of: Mapping[str, Any]) -> str:
    """`1 of 360 labels (< 1.3 %), accuracy −0.0028`: rows that changed, their bound, and what became of the metric."""
    comparison, difference = of["comparison"], of["difference"]
    changed = f"{comparison['changed']:,} of {comparison['rows']:,} {comparison['what']}"
    gained = f"{-difference['loss']:+z.4f}".replace("-", "−")
    return f"{changed} (< {100 * comparison['below']:.2g} %), {difference['metric']} {gained}"


if __name__ == "__main__":
    run_command(main)
