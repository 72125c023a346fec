"""python -m loadtest.docs: what README.md and docs/ show of the models, all from one run over a store made anew.

Trains what has changed, converts everything into build/docs, and takes from there the pictures of the pages, with
--mnist how MNIST's test images are read, and the table of all forms. Takes about five minutes on a quiet machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from loadtest.documents import CHECKOUT, command_line
from loadtest.service import run_command, serve

HOME = CHECKOUT / "build" / "docs"


def main(words: Sequence[str] | None = None) -> None:
    """The command. CalledProcessError of the step that failed, ServiceError"""
    parser = command_line("loadtest.docs", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", help="of MNIST's test images: t10k-*-ubyte")
    options = parser.parse_args(words)
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    os.environ["BENTOML_HOME"] = str(HOME)
    python("train", "--if-changed", "--strict")
    python("convert", "--strict")
    with serve("service:Ekiben", {}, HOME / "service.log").wait_healthy() as service:
        python("tests.browser.screenshots", service.url, "docs")
        if options.mnist:
            python("loadtest.mnist", options.mnist, "--url", service.url)
    python("loadtest.forms")


def python(*words: str) -> None:
    """`python -m` of these words, in the checkout. CalledProcessError"""
    print("·", *words, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", *words], cwd=CHECKOUT, check=True)


if __name__ == "__main__":
    run_command(main)
