"""python -m loadtest.forms: every form of every model under load, as a table and a plot in README.md.

Each form at batches of 1, 8, 32 and 128 rows: rows a second, latency, memory, size of its file, and from its
certificate the metric and what conversion cost. Starts the service itself, over your models; takes about 8 minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from matplotlib.ticker import NullLocator

from loadtest import figures as plots
from loadtest.documents import CHECKOUT, Progress, command_line, replace_section, table
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Run, ServicePool
from loadtest.service import ServiceError, models, run_command, serve
from loadtest.workload import Workload

BATCHES = (1, 8, 32, 128)
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

    def rows_per_second(self, batch: int) -> float:
        """With a busy engine."""
        return batch * median(run.achieved for run in self.busy[batch])

    def latency(self, batch: int, name: str = "p50") -> float:
        """ms of one request at a time."""
        return float(median(getattr(run, name) for run in self.alone[batch]))


def measure(chosen: Sequence[str], cores: Cores, logs: Path) -> list[Form]:
    """All forms that the service finds ready of these models, or of all if none is named. ServiceError

    Model by model, each as trained first, then the largest first.
    """
    log = logs / "service.log"
    forms = [form for form in ready_forms(log) if not chosen or form.model in chosen]
    if missing := sorted(set(chosen) - {form.model for form in forms}) or ([] if forms else ["any model"]):
        raise ServiceError(f"no form of {missing[0]} is ready: run `make models`, or see `bentoml models list`")
    with Progress(len(forms) * (1 + len(BATCHES) * ROUNDS)) as progress:
        for form in forms:
            form.memory_mb = memory_alone(form, cores, log)
            progress.tell(f"{form.model} {form.name} alone: {form.memory_mb:.0f} MB")
        for model, batch in product(dict.fromkeys(form.model for form in forms), BATCHES):
            for form in at_batch(model, [form for form in forms if form.model == model], batch, cores, log):
                progress.tell(f"{model} {form.name}, batch {batch}: {form.rows_per_second(batch):,.0f} rows/s")
    return forms


def ready_forms(log: Path) -> list[Form]:
    """Of a service over the user's models, by model and in a table's order; nothing measured yet. ServiceError"""
    with serve("service:Ekiben", ONE_EACH, log).wait_ready() as service:
        models = service.json("/health")["models"]
    forms = [
        Form(model, name, certificate(model, name, form["version"]))
        for model in sorted(models)
        for name, form in models[model]["forms"].items()
        if form["ready"]
    ]
    return sorted(forms, key=lambda form: (form.model, not form.trained, -form.bytes))


def memory_alone(form: Form, cores: Cores, log: Path) -> float:
    """MB of a service with this form only, once it has answered the largest batches. ServiceError"""
    settings = {**ONE_EACH, "EKIBEN_FORMS": form.name, "EKIBEN_MAX_BATCH_SIZE": str(max(BATCHES))}
    with ServicePool(Workload(form.model, binary=True, rows=max(BATCHES)), cores, log) as pool:
        return pool.target(settings, form.name).run_closed(BUSY_CONNECTIONS, SECONDS, WARMUP).memory_mb


def at_batch(model: str, forms: Sequence[Form], batch: int, cores: Cores, log: Path) -> Iterator[Form]:
    """Requests of `batch` rows, each an engine call, form by form in rounds; yields after each form. ServiceError"""
    with ServicePool(Workload(model, binary=True, rows=batch), cores, log) as pool:
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


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where no form is ready"""
    parser = command_line("loadtest.forms", __doc__)
    parser.add_argument("--model", nargs="+", default=[], help="which, as in /v2/models/MODEL (all that are ready)")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "README.md",
                        help="what holds <!-- forms --> and <!-- /forms --> for the table (README.md)")  # fmt: skip
    parser.add_argument("--picture", type=Path, default=CHECKOUT / "docs" / "forms.png", help="docs/forms.png")
    options = parser.parse_args(words)
    cores = Cores.split()
    print(cores, file=sys.stderr)
    forms = measure(options.model, cores, Path("build/forms"))
    where = f"{describe()}; {cores}"
    draw(forms, options.picture, where)
    picture = options.picture.resolve().relative_to(options.document.resolve().parent)
    text = markdown(forms, where, str(picture))
    replace_section(options.document, "forms", text)
    print(text)
    print(f"written: {options.document}, {options.picture}", file=sys.stderr)


def markdown(forms: Sequence[Form], where: str, picture: str) -> str:
    """Rate at each batch, p50 / p99 of one row, and what a form weighs, is worth, and lost by its conversion."""
    head = ["model", "form", *(f"rows/s, batch {batch}" for batch in BATCHES), "ms, one row", "memory, MB", "file, KiB"]
    rows = [
        [
            form.model,
            f"`{form.name}`",
            *(f"{form.rows_per_second(batch):,.0f}" for batch in BATCHES),
            f"{form.latency(1):.2f} / {form.latency(1, 'p99'):.2f}",
            f"{form.memory_mb:.0f}",
            f"{form.bytes / 1024:,.0f}",
            scored(form.certificate),
            "" if form.trained else conversion(form.certificate),
        ]
        for form in forms
    ]
    busy = max(run.background_cores for form in forms for runs in form.busy.values() for run in runs)
    how = (
        f"One worker, one engine thread; rows as V2 binary tensors, one engine call a request. Rows/s with "
        f"{BUSY_CONNECTIONS} connections that are never idle, median of {ROUNDS} interleaved rounds of {SECONDS:g} s; "
        f"ms are p50 / p99 of one request at a time. Memory is of the whole service with this form alone. Quality and "
        f"what conversion changed are the certificate's, on n held-out rows; in brackets Clopper and Pearson's 95 % "
        f"interval where it is a share of rows, and the share that may change, one-sided. {where}. "
        f"{busy_warning(busy)}"
    ).rstrip()
    titles = [*head, "held-out quality", "changed by conversion"]
    return f"{table(titles, rows)}\n\n{how}\n\n![{plotted(forms)[0].model} as lines]({picture})"


def scored(certificate: Mapping[str, Any]) -> str:
    """`accuracy 0.9972 (0.9846–0.9999), n = 360`; without interval where it is no share of rows."""
    name, value = next(iter(certificate["metrics"].items()))
    interval = certificate.get("intervals", {}).get(name)
    between = f" ({interval['low']:.4f}–{interval['high']:.4f})" if interval else ""
    return f"{name} {value:.4f}{between}, n = {certificate['difference']['rows']:,}"


def conversion(certificate: Mapping[str, Any]) -> str:
    """`1 of 360 labels (< 1.3 %), accuracy −0.0028`: rows that changed, their bound, and what became of the metric."""
    comparison, difference = certificate["comparison"], certificate["difference"]
    changed = f"{comparison['changed']:,} of {comparison['rows']:,} {comparison['what']}"
    gained = f"{-difference['loss']:+z.4f}".replace("-", "−")
    return f"{changed} (< {100 * comparison['below']:.2g} %), {difference['metric']} {gained}"


def plotted(forms: Sequence[Form]) -> list[Form]:
    """The forms of the model that has most of them."""
    models = [form.model for form in forms]
    most = max(dict.fromkeys(models), key=models.count)
    return [form for form in forms if form.model == most]


def draw(forms: Sequence[Form], path: Path, caption: str) -> None:
    """Rate and latency against the batch, a line per form of one model."""
    shown = plotted(forms)
    with plots.figure(path, f"{shown[0].model}: the forms under load", caption, (10.4, 4.2), ncols=2) as axes:
        for form, colour in zip(shown, plots.SERIES, strict=False):
            axes[0].plot(BATCHES, [form.rows_per_second(b) for b in BATCHES], "o-", color=colour, label=form.name)
            axes[1].plot(BATCHES, [form.latency(b) for b in BATCHES], "o-", color=colour, label=form.name)
        titles = (("rows a second, busy engine", "{x:,.0f}"), ("median latency of one request, ms", "{x:g}"))
        for axis, (title, shape) in zip(axes, titles, strict=True):
            axis.set_xscale("log", base=2)
            axis.set(yscale="log", title=title, xlabel="rows of a request, and of an engine call")
            axis.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
            axis.xaxis.set_minor_locator(NullLocator())
            plots.plain_numbers(axis, y=shape)
        axes[0].legend()


if __name__ == "__main__":
    run_command(main)
