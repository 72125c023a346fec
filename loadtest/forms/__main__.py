"""python -m loadtest.forms --model digits: a model's forms under load, as a table and a plot in README.md.

Each form at batches of 1, 8, 32 and 128 rows: rows a second, latency, memory, size of its file, and the metric of its
certificate. Starts the service itself, over your models; takes about 4 minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import NullLocator

from loadtest import figures as plots
from loadtest.documents import CHECKOUT, command_line, replace_section, table
from loadtest.forms.measure import BATCHES, BUSY_CONNECTIONS, ROUNDS, SECONDS, Form, measure
from loadtest.machine import Cores, busy_warning, describe
from loadtest.service import ServiceError


def main(words: Sequence[str] | None = None) -> None:
    parser = command_line("loadtest.forms", __doc__)
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "README.md",
                        help="what holds <!-- forms --> and <!-- /forms --> for the table (README.md)")  # fmt: skip
    parser.add_argument("--picture", type=Path, default=CHECKOUT / "docs" / "forms.png", help="docs/forms.png")
    options = parser.parse_args(words)
    cores = Cores.split()
    print(cores, file=sys.stderr)
    try:
        forms = measure(options.model, cores, Path("build/forms"))
    except ServiceError as error:
        sys.exit(str(error))
    where = f"{describe()}; {cores}"
    draw(options.model, forms, options.picture, where)
    picture = options.picture.resolve().relative_to(options.document.resolve().parent)
    text = markdown(options.model, forms, where, str(picture))
    replace_section(options.document, "forms", text)
    print(text)
    print(f"written: {options.document}, {options.picture}", file=sys.stderr)


def markdown(model: str, forms: Sequence[Form], where: str, picture: str) -> str:
    """Rate at each batch, p50 / p99 at each batch, and what a form weighs and is worth."""
    head = [model, *(f"rows/s, batch {batch}" for batch in BATCHES), *(f"ms, batch {batch}" for batch in BATCHES)]
    score = next(iter(forms[0].certificate["metrics"]))
    rows = [
        [
            f"`{form.name}`",
            *(f"**{form.rows_per_second(batch):,.0f}**" for batch in BATCHES),
            *(f"{form.latency(batch):.2f} / {form.latency(batch, 'p99'):.2f}" for batch in BATCHES),
            f"{form.memory_mb:.0f}",
            f"{form.bytes / 1024:,.0f}",
            f"{form.certificate['metrics'][score]:.4f}",
        ]
        for form in forms
    ]
    busy = max(run.background_cores for form in forms for runs in form.busy.values() for run in runs)
    how = (
        f"One worker, one engine thread; rows as V2 binary tensors, one engine call a request. Rows/s with "
        f"{BUSY_CONNECTIONS} connections that are never idle, median of {ROUNDS} interleaved rounds of {SECONDS:g} s; "
        f"ms are p50 / p99 of one request at a time. Memory is of the whole service with this form alone, {score} is "
        f"the certificate's. {where}. {busy_warning(busy)}"
    ).rstrip()
    return f"{table([*head, 'memory, MB', 'file, KiB', score], rows)}\n\n{how}\n\n![The same as lines]({picture})"


def draw(model: str, forms: Sequence[Form], path: Path, caption: str) -> None:
    """Rate and latency against the batch, a line per form."""
    with plots.figure(path, f"{model}: the forms under load", caption, (10.4, 4.2), ncols=2) as axes:
        for form, colour in zip(forms, plots.SERIES, strict=False):
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
    main()
