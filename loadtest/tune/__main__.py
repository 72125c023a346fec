"""python -m loadtest.tune: finds the settings with which a model takes the highest load within an objective.

Starts the service itself, with one setting at a time, on a home of its own over your models, and nothing else that
you have set in EKIBEN_ variables. For each setting it searches the highest rate of Poisson arrivals at which the
percentile keeps the limit, and repeats the promising ones in rounds beside the defaults. What was measured is kept in
--out: started again with the same arguments after an interruption, the search goes on; after its end, the same report
is given again (so that --write may come later) until --fresh measures anew.

  python -m loadtest.tune --model digits --form onnx --slo p99=50ms
  python -m loadtest.tune --model digits --slo p99=50ms --budget 20m          all forms of the model too
  python -m loadtest.tune --model digits --form onnx --slo p99=50ms --write   ekiben.env and deploy/slo.yaml

Written to --out: report.md, latency.png, the winner as ekiben.env, and every run (JSONL).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from loadtest.documents import CHECKOUT, Progress, Section, command_line
from loadtest.machine import describe
from loadtest.measurement import ServicePool
from loadtest.service import HOW_TO_HAVE_MODELS, ServiceError, run_command
from loadtest.tune import report, space
from loadtest.tune.report import Findings
from loadtest.tune.search import Journal, Results, Trials, play_rounds

DOCUMENT = Section(CHECKOUT / "docs" / "tuning.md", "tune")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options. SystemExit"""
    parser = command_line("loadtest.tune", __doc__)
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", default="", metavar="A,B", help="its forms to try, the first as the default (all)")
    parser.add_argument("--slo", type=space.parse_slo, default=space.promised_slo(), metavar="p99=50ms",
                        help=f"the objective (that of deploy/slo.yaml: {space.promised_slo()})")  # fmt: skip
    parser.add_argument("--budget", type=duration, default="10m", metavar="10m", help="all the time it may take (10m)")
    parser.add_argument("--seconds", type=float, default=2.0,
                        help="of one load, at least 20 times the limit; rates below 200/s take longer (2)")  # fmt: skip
    parser.add_argument("--space", type=Path, default=space.DEFAULT, help="YAML: settings and their values to try")
    parser.add_argument("--out", type=Path, default=Path("build/tune"), help="folder for the results (build/tune)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    parser.add_argument("--write", action="store_true", help="put the winner into ekiben.env and deploy/slo.yaml")
    parser.add_argument("--docs", action="store_true", help="put report and plot into docs/tuning.md")
    return parser.parse_args(words)


def duration(text: str) -> float:
    """Seconds of 90s, 10m or 2h. argparse.ArgumentTypeError"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: a number and s, m or h, as in 10m")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def main(words: Sequence[str] | None = None) -> None:
    """The command. SystemExit where nothing may be concluded, ServiceError where nothing can be measured"""
    options = arguments(words)
    folder = options.out / f"{options.model}-{space.slo_text(options.slo)}"
    try:
        with ServicePool(options.model, folder / "service.log") as pool:
            print(f"{pool.cores}; budget {options.budget / 60:g} min", file=sys.stderr)
            findings = search(options, pool, folder)
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted: the same command goes on from {folder}/runs.jsonl")
    publish(findings, folder, options)


def search(options: argparse.Namespace, pool: ServicePool, folder: Path) -> Findings:
    """Measures, or goes on measuring, until the budget is spent."""
    began = monotonic()
    axes = space.read(options.space, pool.cores.count)
    forms = forms_to_try(pool, options.model, [form for form in options.form.split(",") if form], axes)
    settings = space.candidates(list(forms), axes)
    head = {
        "model": options.model, "versions": forms, "slo": space.slo_text(options.slo), "budget": options.budget,
        "seconds": options.seconds, "axes": axes, "cores": str(pool.cores), "machine": describe(),
    }  # fmt: skip
    journal = Journal(folder / "runs.jsonl", head, options.fresh, began)
    if journal.resumed:
        when = f"measured until {journal.ended}; --fresh measures anew" if journal.ended else "going on"
        print(f"{journal.resumed} runs found in {journal.path}: {when}", file=sys.stderr)
    results = Results(settings[0])
    with Progress(options.budget) as progress:
        trials = Trials(pool, settings[0], journal, options.slo, options.budget, options.seconds, progress)
        play_rounds(settings, results, trials.bracket, lambda: journal.spent, options.budget)
    if broken := trials.broken.get(results.default):
        raise ServiceError(broken)
    if not trials.all:
        raise ServiceError(f"a budget of {options.budget:g} s is too short to measure anything: --budget 10m")
    journal.end()
    return Findings(options.model, trials, results, describe(), str(pool.cores))


def forms_to_try(pool: ServicePool, model: str, wanted: list[str], axes: space.Axes) -> dict[str, str]:
    """Form → version of those to try, the default first, as the service itself lists them."""
    default = space.candidates([",".join(wanted)], axes)[0]  # with one form the service that is measured first
    ready = pool.service(default.environment).ready_forms().get(model, {})
    if not ready or (unknown := set(wanted) - set(ready)):
        which = f"form {min(unknown)!r}" if ready else f"model {model!r}"
        raise ServiceError(f"{which} is not ready: {HOW_TO_HAVE_MODELS}")
    return {form: ready[form] for form in wanted or ready}


def publish(findings: Findings, folder: Path, options: argparse.Namespace) -> None:
    """Report, plot and winner into the folder; into the checkout what was asked for. SystemExit where nothing counts"""
    text = report.markdown(findings, "latency.png")
    if findings.unusable:
        print(text)
        sys.exit("nothing is written: most loads were thrown away")
    (folder / "report.md").write_text(text + "\n")
    report.draw(findings, folder / "latency.png")
    settings = space.settings_file(findings.winner.values, report.comment(findings))
    (folder / "ekiben.env").write_text(settings)
    print(text)
    written = [f"{folder}/report.md, latency.png, ekiben.env, runs.jsonl"]
    if options.write:
        written += space.write(settings, findings.rate)
    if options.docs:
        report.draw(findings, DOCUMENT.path.with_name("tuning.png"))
        target = f"{options.model} --form {options.form}" if options.form else options.model
        how = f"--model {target} --slo {space.slo_text(options.slo)} --budget {options.budget / 60:g}m"
        DOCUMENT.replace(f"`python -m loadtest.tune {how}`\n\n{report.markdown(findings, 'tuning.png')}")
        written.append(str(DOCUMENT.path))
    print("\n".join(f"written: {each}" for each in written), file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
