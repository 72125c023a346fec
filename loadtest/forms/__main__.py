"""python -m loadtest.forms --model digits: a model's forms under load, as a table and a plot in README.md.

Each form at batches of 1, 8, 32 and 128 rows: rows a second, latency, memory, size of its file, and the metric of its
certificate. Starts the service itself, over your models; takes about 4 minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.forms.measure import measure
from loadtest.forms.report import draw, markdown
from loadtest.sections import replace
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import CHECKOUT, ServiceError


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m loadtest.forms", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="which, as in /v2/models/MODEL")
    parser.add_argument("--document", type=Path, default=CHECKOUT / "README.md",
                        help="what holds <!-- forms --> and <!-- /forms --> for the table (README.md)")  # fmt: skip
    parser.add_argument("--picture", type=Path, default=CHECKOUT / "docs" / "forms.png", help="docs/forms.png")
    chosen = parser.parse_args(given)
    cores = Cores.split()
    print(cores, file=sys.stderr)
    try:
        forms = measure(chosen.model, cores, Path("build/forms"))
    except ServiceError as error:
        sys.exit(str(error))
    where = f"{described()}; {cores}"
    draw(chosen.model, forms, chosen.picture, where)
    picture = chosen.picture.resolve().relative_to(chosen.document.resolve().parent)
    text = markdown(chosen.model, forms, where, str(picture))
    replace(chosen.document, "forms", text)
    print(text)
    print(f"written: {chosen.document}, {chosen.picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
