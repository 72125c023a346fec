"""python -m loadtest.catalogue: every form of every model, as a table in README.md.

Size of its file, latency of one request at a time, and from its certificate the quality and what conversion changed.
Starts the service itself, over your models; takes about 2 minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.documents import CHECKOUT, Progress, add_section, command_line, table
from loadtest.forms import ONE_EACH, ROUNDS, SECONDS, WARMUP, Form, ready_forms
from loadtest.machine import Cores, busy_warning, describe
from loadtest.measurement import Target
from loadtest.service import ServiceProcess, run_command, serve
from loadtest.workload import Workload

BATCHES = (1, 32)
LOG = CHECKOUT / "build" / "catalogue" / "service.log"


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where no form is ready"""
    parser = command_line("loadtest.catalogue", __doc__)
    add_section(parser, "catalogue", "README.md")
    options = parser.parse_args(words)
    cores = Cores.split()
    with serve(".", ONE_EACH, LOG, cores.pin).wait_ready() as service:
        forms = ready_forms(service)
        measure(service, forms, cores)
    options.document.publish(markdown(forms, f"{describe()}; {cores}"))


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
            *(form.latencies(batch) for batch in BATCHES),
            scored(form.certificate),
            "" if form.trained else conversion(form.certificate),
        ]
        for form in forms
    ]
    how = (
        f"ms are p50 / p99 of one request at a time, V2 binary, median of {ROUNDS} interleaved rounds of {SECONDS:g} "
        f"s; one worker, one engine thread. Quality and what conversion changed are the certificate's, on n held-out "
        f"rows: after quality Clopper and Pearson's 95 % interval where it is a share of rows, after the rows that "
        f"changed the bound, one-sided, of those that may. {where}. "
        f"{busy_warning(max(form.background_cores for form in forms))}"
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
