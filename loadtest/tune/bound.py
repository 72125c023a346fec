"""What keeps a rate from being higher, read from the first run that did not pass."""

from __future__ import annotations

from loadtest.service.run import Run

FULL = 0.85  # of a core is full: the rest goes to the kernel, and to the ends of the measurement
HALF = 0.5


def bound_by(run: Run, cores: int, workers: int) -> str:
    """CPU, engine, queue, generator, or none of them; with the figures that say so."""
    cpu, engine = run.cpu_cores / cores, run.engine_cores / workers
    used = f"{run.cpu_cores:.2f} of {cores} core{'s' if cores > 1 else ''} used"
    busy = f"the engine ran {100 * engine:.0f} % of the time"
    if run.rejected:
        return f"generator: {run.rejected}"
    if run.other_cores > HALF and cpu < FULL:
        return f"other programs: they took {run.other_cores:.1f} cores ({used}); measure again on a quiet machine"
    if engine >= FULL or (cpu >= FULL and run.engine_cores >= HALF * run.cpu_cores):
        return f"engine: {busy}, {used}"
    if cpu >= FULL:
        return f"CPU: {used}, {busy}: the rest is HTTP, parsing and writing"
    if run.queue >= HALF * run.mean:
        return f"queue: {run.queue:.1f} of {run.mean:.1f} ms a request, with {used}"
    return f"none of CPU, engine and queue was full ({used}, {busy}): requests waited outside the service's own clock"
