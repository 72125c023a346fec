"""The boundaries of serving's histograms, read as text: between two of them nobody knows how many were slow."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

from deploy.objectives import HERE, Objective, SloError

METRICS = HERE.parent / "serving" / "telemetry" / "metrics.py"
REQUEST, QUEUE, LAG = "ekiben_request_seconds", "ekiben_queue_seconds", "ekiben_loop_lag_seconds"


def of_file(histogram: str, file: Path = METRICS) -> tuple[float, ...]:
    """The boundaries that serving/telemetry/metrics.py gives to the histogram; the file is parsed, not imported."""
    tree = ast.parse(file.read_text())
    tuples = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Tuple)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and getattr(node.args[0], "value", None) == histogram:
            arguments = (*node.args, *(keyword.value for keyword in node.keywords))
            named = [tuples[a.id] for a in arguments if isinstance(a, ast.Name) and a.id in tuples]
            if named:
                return tuple(_numbers(named[0], tuples))
    raise SloError(f"{file}: no histogram {histogram!r} with a tuple of boundaries")


def _numbers(written: ast.Tuple, tuples: Mapping[str, ast.Tuple]) -> Iterator[float]:
    """The numbers of a tuple, which may unpack another: `(1e-5, *REQUEST_SECONDS)`."""
    for element in written.elts:
        if isinstance(element, ast.Starred) and isinstance(element.value, ast.Name):
            yield from _numbers(tuples[element.value.id], tuples)
        else:
            yield float(ast.literal_eval(element))


def of_service(histogram: str, url: str) -> tuple[float, ...]:
    """The boundaries that a running service exports at its /metrics."""
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - the operator's own address
        text = answer.read().decode()
    exported = re.findall(rf'^{histogram}_bucket{{[^}}]*le="([^"]+)"', text, re.MULTILINE)
    if not exported:
        raise SloError(f"{url} exports no {histogram}_bucket")
    return tuple(sorted({float(le) for le in exported} - {float("inf")}))


def check(objectives: Iterable[Objective], boundaries: tuple[float, ...]) -> None:
    """SloError for a latency threshold that is no boundary; it names the nearest ones."""
    for objective in objectives:
        if objective.sli == "latency" and objective.within not in boundaries:
            below = [b for b in boundaries if b < objective.within][-1:]
            above = [b for b in boundaries if b > objective.within][:1]
            raise SloError(
                f"{objective.name}: within = {objective.within:g} s is no boundary of {REQUEST}; "
                f"the nearest are {' and '.join(f'{b:g} s' for b in (*below, *above))}"
            )


def le(boundary: float) -> str:
    """The boundary as the label `le` has it: 1 is `1.0`."""
    return repr(float(boundary))
