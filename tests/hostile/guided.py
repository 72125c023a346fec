"""`python -m tests.hostile.guided picture`: a fuzzer that is guided by the coverage of the code that it breaks.

atheris mutates the bytes that reached new branches, of Python alone. What it finds goes to the folder
build/hostile/<target>/, from where a later run goes on. The ONNX files are those of the tests' store, which `make test`
makes.
"""

from __future__ import annotations

import argparse
import sys

import atheris

from tests.conftest import ROOT

with atheris.instrument_imports(include=["serving", "bentos", "PIL", "python_multipart"]):
    from tests.hostile.targets import TARGETS


def main() -> None:
    found = argparse.ArgumentParser(prog="python -m tests.hostile.guided", description=__doc__)
    found.add_argument("target", choices=TARGETS, help="what to feed")
    found.add_argument("--seconds", type=int, default=60, help="how long (%(default)s)")
    asked = found.parse_args()
    folder = ROOT / "build" / "hostile" / asked.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[asked.target].seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_total_time={asked.seconds}", "-timeout=5", "-rss_limit_mb=4096", "-max_len=20000"]
    words = [sys.argv[0], str(folder), f"-artifact_prefix={folder}/found-", *limits]
    atheris.Setup(words, TARGETS[asked.target].survives)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
