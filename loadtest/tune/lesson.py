"""What a sweep of workers against queue delay taught, said from its own figures."""

from __future__ import annotations

from loadtest import others
from loadtest.tune.grid import Cell, Swept


def lessons(swept: Swept) -> str:
    return "\n\n".join([said_of_winner(swept), said_of_columns(swept), said_of_rows(swept)])


def said_of_winner(swept: Swept) -> str:
    grid, winner, best = swept.grid, swept.winner, swept.best
    rate = f"{swept.rate(winner):,.0f} requests/s, p50 {swept.mean(winner, 'p50'):.2f} ms"
    said = f"**Winner: {_cell(swept, winner)}**, {rate}."
    if best != winner:
        said += f" {_cell(swept, best)} measured {swept.rate(best):,.0f}, which the noise does not tell apart from it."
    references = len(swept.runs[grid.reference])
    said += f" The first cell, measured {references} times, differed by {100 * swept.noise:.0f} % from itself."
    busy = max(run.other_cores for runs in swept.runs.values() for run in runs)
    return f"{said} {others.warning(busy)}".rstrip()


def said_of_columns(swept: Swept) -> str:
    """Along the delays, with the first number of workers."""
    grid = swept.grid
    none, longest = ((grid.rows[0], column) for column in (grid.columns[0], grid.columns[-1]))
    top = max(((grid.rows[0], column) for column in grid.columns), key=swept.rate)
    rows = {cell: swept.mean(cell, "batch_rows") for cell in (none, longest)}
    engine = {cell: 1e3 * swept.mean(cell, "infer") / max(1.0, rows[cell]) for cell in (none, longest)}
    verdict = "**Waiting does not help**"
    if _helps(swept, top, none):
        verdict = (
            f"**Waiting helps up to {_cell(swept, top)}**: {swept.rate(top):,.0f} against {swept.rate(none):,.0f}, "
            f"with {swept.mean(top, 'batch_rows'):.1f} rows a batch and {swept.mean(top, 'cpu_us'):.0f} instead of "
            f"{swept.mean(none, 'cpu_us'):.0f} µs of CPU a request"
        )
    saved = engine[none] - engine[longest]
    saving = f"saves {saved:.1f} µs of engine time a row" if saved > 0 else "saves no engine time"
    waited = 1e3 * (swept.mean(longest, "queue") - swept.mean(none, "queue"))
    little = 1e3 * grid.concurrency / swept.mean(longest, "mean")
    return (
        f"{verdict}: without a delay a batch already has {rows[none]:.1f} rows, of those who came while the process "
        f"was busy, and a request spends {1e3 * swept.mean(none, 'queue'):.0f} µs in the queue. At "
        f"{_cell(swept, longest)} a batch has {rows[longest]:.1f} rows, of the {grid.concurrency} that can come at all "
        f"while everybody else waits for an answer. That {saving} ({engine[none]:.1f} → {engine[longest]:.1f} µs) and "
        f"costs each request {waited:,.0f} µs of waiting: {grid.concurrency} in flight, "
        f"{swept.mean(longest, 'mean'):.2f} ms each, are {little:,.0f} requests/s (Little's law); "
        f"{swept.rate(longest):,.0f} were measured."
    )


def said_of_rows(swept: Swept) -> str:
    """Along the workers, without a delay."""
    grid = swept.grid
    one, most = ((row, grid.columns[0]) for row in (grid.rows[0], grid.rows[-1]))
    top = max(((row, grid.columns[0]) for row in grid.rows), key=swept.rate)
    used, cores = swept.mean(one, "cpu_cores"), f"{swept.cores} core{'s' if swept.cores > 1 else ''}"
    if _helps(swept, top, one):
        verdict = f"**More workers help up to {_cell(swept, top)}**, × {swept.rate(top) / swept.rate(one):.2f}"
    else:
        verdict = "**More workers do not help**"
    if used >= 0.8 * swept.cores:
        why = f"one worker uses {used:.2f} of the {cores} that the service has, and there is no more to give"
    else:
        why = (
            f"one worker uses {used:.2f} of the {cores} that the service has; the rest of the time it waits to be asked"
        )
    fewer = swept.mean(most, "batch_rows") < swept.mean(one, "batch_rows") * (1 - swept.noise)
    met = f"the {grid.concurrency} connections meet less often: " if fewer else ""
    return (
        f"{verdict}: {why}. Among {grid.rows[-1]} workers {met}batches go from "
        f"{swept.mean(one, 'batch_rows'):.1f} to {swept.mean(most, 'batch_rows'):.1f} rows, CPU a "
        f"request goes from {swept.mean(one, 'cpu_us'):.0f} to {swept.mean(most, 'cpu_us'):.0f} µs, memory from "
        f"{swept.mean(one, 'memory_mb'):.0f} to {swept.mean(most, 'memory_mb'):.0f} MB, and the rate from "
        f"{swept.rate(one):,.0f} to {swept.rate(most):,.0f}."
    )


def _helps(swept: Swept, cell: Cell, base: Cell) -> bool:
    return swept.rate(cell) > swept.rate(base) * (1 + swept.noise)


def _cell(swept: Swept, cell: Cell) -> str:
    return f"{swept.grid.row}={cell[0]} {swept.grid.column}={cell[1]}"
