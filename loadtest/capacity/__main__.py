"""python -m loadtest.capacity --model digits --form onnx: what load costs, and what 100,000 requests/s would.

Measures one worker on one core: idle, at eight rates and saturated. Fits what a request and a waking cost to six of the
rates, says by how much the fit misses the other two, and answers with it: replicas, memory, money. Starts the service
itself, over your models; takes about 4 minutes. The figures go into docs/capacity.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.capacity.fit import fit
from loadtest.capacity.measure import measured
from loadtest.capacity.plot import draw
from loadtest.capacity.report import Study, markdown
from loadtest.sections import replace
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import CHECKOUT, ServiceError
from loadtest.service.questions import Questioner
from loadtest.service.stand import Stand


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m loadtest.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--form", required=True, help="its form")
    parser.add_argument("--rate", type=float, default=100_000, help="requests a second to answer for (100000)")
    parser.add_argument("--price", type=float, default=0.04, help="of a CPU-hour, an assumption (0.04)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement (4)")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "docs" / "capacity.md",
                        help="what holds <!-- capacity --> and <!-- /capacity --> (docs/capacity.md)")  # fmt: skip
    chosen = parser.parse_args(given)
    cores = Cores.split()
    cores = Cores(cores.service[:1], cores.generator)  # a replica of one core, whatever the machine has
    print(cores, file=sys.stderr)
    settings = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1", "EKIBEN_FORMS": chosen.form}
    try:
        with Stand(Questioner(chosen.model, binary=False), cores, Path("build/capacity/service.log")) as stand:
            found = measured(stand.target(settings, chosen.form), chosen.seconds)
    except ServiceError as error:
        sys.exit(str(error))
    name, where = f"{chosen.model}-{chosen.form}", f"{described()}; {cores}"
    study = Study(name, where, found, fit(found.fitted, found.saturation, found.idle))
    picture = chosen.document.with_name("capacity.png")
    draw(study, picture)
    text = markdown(study, chosen.rate, chosen.price, picture.name)
    replace(chosen.document, "capacity", text)
    print(text)
    print(f"written: {chosen.document}, {picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
