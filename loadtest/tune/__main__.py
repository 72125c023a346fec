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
import contextlib
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from loadtest.progress import Progress
from loadtest.sections import replace
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import CHECKOUT, ServiceError
from loadtest.service.questions import Questioner
from loadtest.service.stand import Stand
from loadtest.tune import plot, report, slo, space, winner
from loadtest.tune.journal import Journal
from loadtest.tune.report import Findings
from loadtest.tune.rounds import Results, Rounds
from loadtest.tune.trials import Trials

DOCUMENT = CHECKOUT / "docs" / "tuning.md"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", default="", metavar="A,B", help="its forms to try, the first as the default (all)")
    parser.add_argument("--slo", type=slo.limit, default=slo.promised(), metavar="p99=50ms",
                        help=f"the objective (that of deploy/slo.yaml: {slo.promised()})")  # fmt: skip
    parser.add_argument("--budget", type=duration, default="10m", metavar="10m", help="all the time it may take (10m)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one shot; rates below 200/s take longer (2)")
    parser.add_argument("--space", type=Path, default=space.DEFAULT, help="YAML: settings and their values to try")
    parser.add_argument("--out", type=Path, default=Path("build/tune"), help="folder for the results (build/tune)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what is there already")
    parser.add_argument("--write", action="store_true", help="put the winner into ekiben.env and deploy/slo.yaml")
    parser.add_argument("--docs", action="store_true", help="put report and plot into docs/tuning.md")
    return parser.parse_args(given)


def duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: a number and s, m or h, as in 10m")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def main(given: Sequence[str] | None = None) -> None:
    chosen = arguments(given)
    # A terminated search unwinds like an interrupted one, and so ends the service that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = Cores.split()
    print(f"{cores}; budget {chosen.budget / 60:g} min", file=sys.stderr)
    folder = chosen.out / f"{chosen.model}-{slo.written(chosen.slo)}"
    try:
        with Stand(Questioner(chosen.model, binary=False), cores, folder / "service.log") as stand:
            found = search(chosen, stand, folder)
    except ServiceError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\ninterrupted: the same command goes on from {folder}/runs.jsonl")
    publish(found, folder, chosen)


def search(chosen: argparse.Namespace, stand: Stand, folder: Path) -> Findings:
    """Measures, or goes on measuring, until the budget is spent."""
    began = monotonic()
    axes = space.read(chosen.space, stand.cores.count)
    forms = asked_forms(stand, chosen.model, [form for form in chosen.form.split(",") if form], axes)
    settings = space.candidates(list(forms), axes)
    head = {
        "model": chosen.model, "versions": forms, "slo": slo.written(chosen.slo), "budget": chosen.budget,
        "seconds": chosen.seconds, "axes": axes, "cores": str(stand.cores), "machine": described(),
    }  # fmt: skip
    journal = Journal(folder / "runs.jsonl", head, chosen.fresh, began)
    if journal.resumed:
        when = f"measured until {journal.ended}; --fresh measures anew" if journal.ended else "going on"
        print(f"{journal.resumed} runs found in {journal.path}: {when}", file=sys.stderr)
    progress = Progress(chosen.budget)
    trials = Trials(stand, settings[0], journal, chosen.slo, chosen.budget, chosen.seconds, progress)
    results = Results(settings[0])
    with contextlib.closing(progress):
        Rounds(trials.bracket, lambda: journal.spent, chosen.budget, results).play(settings)
    if broken := trials.broken.get(results.default):
        raise ServiceError(broken)
    if not trials.all:
        raise ServiceError(f"a budget of {chosen.budget:g} s is too short to measure anything: --budget 10m")
    if not journal.ended:
        journal.end()
    return Findings(chosen.model, trials, results, described(), str(stand.cores), forms)


def asked_forms(stand: Stand, model: str, wanted: list[str], axes: space.Axes) -> dict[str, str]:
    """Form → version of those to try, the default first, as the service itself lists them."""
    default = space.candidates([",".join(wanted)], axes)[0]  # with one form the service that is measured first
    health: dict[str, Any] = stand.service(default.environment).json("/health")
    said = health["models"].get(model, {"forms": {}, "default": ""})
    there = {form: str(of_form["version"]) for form, of_form in said["forms"].items() if of_form["ready"]}
    if not there or (unknown := set(wanted) - set(there)):
        which = f"form {min(unknown)!r}" if there else f"model {model!r}"
        raise ServiceError(f"{which} is not ready: run `make models`, or see `bentoml models list`")
    return {form: there[form] for form in (wanted or sorted(there, key=lambda form: form != said["default"]))}


def publish(found: Findings, folder: Path, chosen: argparse.Namespace) -> None:
    """Report, plot and winner into the folder; into the checkout what was asked for."""
    text = report.markdown(found, "latency.png")
    (folder / "report.md").write_text(text + "\n")
    plot.draw(found, folder / "latency.png")
    settings = winner.settings_file(found.winner.values, report.comment(found))
    (folder / "ekiben.env").write_text(settings)
    print(text)
    written = [f"{folder}/report.md, latency.png, ekiben.env, runs.jsonl"]
    if chosen.write:
        written += winner.write(settings, found.rate)
    if chosen.docs:
        plot.draw(found, DOCUMENT.with_name("tuning.png"))
        replace(DOCUMENT, "tune", f"`{command(chosen)}`\n\n{report.markdown(found, 'tuning.png')}")
        written.append(str(DOCUMENT))
    print("\n".join(f"written: {each}" for each in written), file=sys.stderr)


def command(chosen: argparse.Namespace) -> str:
    form = f" --form {chosen.form}" if chosen.form else ""
    budget = f"{chosen.budget / 60:g}m"
    return f"python -m loadtest.tune --model {chosen.model}{form} --slo {slo.written(chosen.slo)} --budget {budget}"


if __name__ == "__main__":
    main()
