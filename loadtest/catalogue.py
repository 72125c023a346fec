"""python -m loadtest.catalogue: every form of every model, as a table in README.md.

Size of its file, latency of one request at a time, and from its certificate the quality and what conversion changed.
Starts the service itself, over your models; takes about 2 minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest.documents import CHECKOUT, Progress, command_line, replace_section, split_section, table
from loadtest.forms import ONE_EACH, ROUNDS, SECONDS, WARMUP, Form, certificate
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Target
from loadtest.service import ServiceError, ServiceProcess, run_command, serve
from loadtest.workload import Workload

BATCHES = (1, 32)
LOG = CHECKOUT / "build" / "catalogue" / "service.log"


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where no form is ready"""
    parser = command_line("loadtest.catalogue", __doc__)
    parser.add_argument("--document", type=Path, default=CHECKOUT / "README.md",
                        help="what holds <!-- catalogue --> and <!-- /catalogue --> (README.md)")  # fmt: skip
    options = parser.parse_args(words)
    split_section(options.document, "catalogue")
    cores = Cores.split()
    with serve(".", ONE_EACH, LOG, cores.pin).wait_ready() as service:
        forms = ready_forms(service)
        measure(service, forms, cores)
    text = markdown(forms, f"{describe()}; {cores}")
    replace_section(options.document, "catalogue", text)
    print(text)


def ready_forms(service: ServiceProcess) -> list[Form]:
    """By model, each as trained first, then the largest first. ServiceError where there is none"""
    forms = [
        Form(model, name, certificate(model, name, form["version"]))
        for model, served in service.json("/health")["models"].items()
        for name, form in served["forms"].items()
        if form["ready"]
    ]
    if not forms:
        raise ServiceError("no form of any model is ready: run `make models`, or see `bentoml models list`")
    return sorted(forms, key=lambda form: (form.model, not form.trained, -form.bytes))


def measure(service: ServiceProcess, forms: Sequence[Form], cores: Cores) -> None:
    """One request at a time, form by form in rounds. ServiceError"""
    with Progress(len(forms) * len(BATCHES) * ROUNDS) as progress:
        for batch in BATCHES:
            workloads = {form.model: Workload(form.model, binary=True, rows=batch) for form in forms}
            targets = [
                Target(service, f.model, f.name, workloads[f.model].requests(service, f"{f.model}-{f.name}"), cores)
                for f in forms
            ]
            for _ in range(ROUNDS):
                for form, target in zip(forms, targets, strict=True):
                    form.alone.setdefault(batch, []).append(target.run_closed(1, SECONDS, WARMUP))
                    progress.tell(f"{form.model} {form.name}, {batch} rows")


def markdown(forms: Sequence[Form], where: str) -> str:
    """A row for each form, and how it was measured."""
    heads = ["model", "form", "file, KiB", *(f"ms, batch {batch}" for batch in BATCHES), "held-out quality"]
    rows = [
        [
            form.model,
            f"`{form.name}`",
            f"{form.bytes / 1024:,.0f}",
            *(f"{form.latency(batch):.2f} / {form.latency(batch, 'p99'):.2f}" for batch in BATCHES),
            scored(form.certificate),
            "" if form.trained else conversion(form.certificate),
        ]
        for form in forms
    ]
    busy = max(run.background_cores for form in forms for runs in form.alone.values() for run in runs)
    how = (
        f"ms are p50 / p99 of one request at a time, V2 binary, median of {ROUNDS} interleaved rounds of {SECONDS:g} "
        f"s; one worker, one engine thread. Quality and what conversion changed are the certificate's, on n held-out "
        f"rows: after quality Clopper and Pearson's 95 % interval where it is a share of rows, after the rows that "
        f"changed the bound, one-sided, of those that may. {where}. {busy_warning(busy)}"
    ).rstrip()
    return f"{table([*heads, 'changed by conversion'], rows)}\n\n{how}"


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
