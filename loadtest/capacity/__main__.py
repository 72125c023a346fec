"""python -m loadtest.capacity --model digits --form onnx: what load costs, and what 100,000 requests/s would.

Measures one worker on one core: idle, at eight rates and saturated. Fits what a request and a waking cost to six of the
rates, says by how much the fit misses the other two, and answers with it: replicas, memory, money. Starts the service
itself, over your models; takes about 4 minutes. The figures go into docs/capacity.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.capacity.fit import fit
from loadtest.capacity.measure import measure
from loadtest.capacity.report import Study, draw, markdown
from loadtest.documents import CHECKOUT, command_line, replace_section
from loadtest.machine import Cores, describe
from loadtest.pool import ServicePool
from loadtest.service import ServiceError
from loadtest.workload import Workload


def main(words: Sequence[str] | None = None) -> None:
    """The command. SystemExit where too little can be measured"""
    parser = command_line("loadtest.capacity", __doc__)
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", required=True, help="its form")
    parser.add_argument("--rate", type=float, default=100_000, help="requests a second to answer for (100000)")
    parser.add_argument("--price", type=float, default=0.04, help="of a CPU-hour, an assumption (0.04)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement (4)")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "docs" / "capacity.md",
                        help="what holds <!-- capacity --> and <!-- /capacity --> (docs/capacity.md)")  # fmt: skip
    options = parser.parse_args(words)
    cores = Cores.split()
    cores = Cores(cores.service[:1], cores.generator)  # a replica of one core, whatever the machine has
    print(cores, file=sys.stderr)
    settings = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1", "EKIBEN_FORMS": options.form}
    workload = Workload(options.model, binary=False)
    try:
        with ServicePool(workload, cores, Path("build/capacity/service.log")) as pool:
            measured = measure(pool.target(settings, options.form), options.seconds)
    except ServiceError as error:
        sys.exit(str(error))
    name, where = f"{options.model}-{options.form}", f"{describe()}; {cores}"
    study = Study(name, where, measured, fit(measured.fitted, measured.saturation, measured.idle))
    picture = options.document.with_name("capacity.png")
    draw(study, picture)
    text = markdown(study, options.rate, options.price, picture.name)
    replace_section(options.document, "capacity", text)
    print(text)
    print(f"written: {options.document}, {picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
