"""python -m loadtest.chain: one model's pipeline in one process and as three services, measured side by side.

Starts the one service with 1 and 2 workers, and chains over HTTP and over a shared volume with 1 and 2 replicas of the
model, as plain processes on free ports of 127.0.0.1. Checks that all give the same answers and that every replica
answers, then has wrk, which has to be installed, upload the model's example files to each in turn. The models are those
of the BentoML store (BENTOML_HOME).

  python -m loadtest.chain                                   about 4 minutes; writes docs/chain.md and docs/chain.png
  python -m loadtest.chain --rounds 1 --seconds 1 --out build/chain      a first look; the documentation stays as it is
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from loadtest import sections
from loadtest.chain import plot, report
from loadtest.chain.arrangements import REPLICAS, WAYS, started
from loadtest.chain.processes import services
from loadtest.chain.rounds import check, measured
from loadtest.chain.shooting import ShotError, form
from loadtest.peers import wrk
from loadtest.peers.rounds import progress
from loadtest.service.machine import described
from loadtest.service.process import CHECKOUT, ServiceError

FIELD = "image"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.chain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="digits", help="one that takes a file, with examples (digits)")
    parser.add_argument("--connections", type=numbers, default="1,8", metavar="N,M", help="kept open by wrk (1,8)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each cell is measured (3)")
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement, whole seconds (3)")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs", help="folder of chain.md and chain.png (docs)")
    chosen = parser.parse_args(given)
    if not examples(chosen.model):
        parser.error(f"--model {chosen.model}: bentos/{chosen.model}/examples.json names no files")
    return chosen


def numbers(text: str) -> list[int]:
    found = [int(word) for word in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be whole numbers from 1")
    return found


def examples(model: str) -> list[Path]:
    """The example files of a model's folder."""
    folder = CHECKOUT / "bentos" / model
    if not (folder / "examples.json").is_file():
        return []
    return [folder / name for name in json.loads((folder / "examples.json").read_text()) if isinstance(name, str)]


def main(given: list[str] | None = None) -> None:
    chosen = arguments(given)
    wrk.require()
    # A terminated benchmark unwinds like an interrupted one, and so ends the services that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = Path(tempfile.mkdtemp(prefix="ekiben-chain-"))
    # What compose shares between containers is memory, too.
    volume = Path(tempfile.mkdtemp(prefix="ekiben-chain-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        write(chosen.out, run(chosen, scratch, volume))
    except (ShotError, ServiceError) as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(volume, ignore_errors=True)


def run(chosen: argparse.Namespace, scratch: Path, volume: Path) -> dict[str, Any]:
    """Everything measured. ShotError, ServiceError, SystemExit"""
    forms = []
    for place, example in enumerate(examples(chosen.model)):
        forms.append(scratch / f"form-{place}")
        forms[-1].write_bytes(form(example.read_bytes(), FIELD))
    print("starting the services …", file=sys.stderr, flush=True)
    with services(scratch / "homes") as starting:
        arrangements = started(starting, chosen.model, volume)
        check(arrangements, forms)
        say = progress(chosen.rounds * len(WAYS) * len(REPLICAS) * len(chosen.connections))
        records = list(measured(arrangements, forms, chosen.connections, chosen.rounds, chosen.seconds, say))
        check(arrangements, forms)
        if left := list(volume.iterdir()):
            raise ShotError(f"{len(left)} files were left on the volume")
    settings = {name: getattr(chosen, name) for name in ("model", "connections", "rounds", "seconds")}
    return {"machine": described(), **settings, "records": records}


def write(folder: Path, results: dict[str, Any]) -> None:
    """chain.png, and the figures into chain.md, between its marks if it has any."""
    folder.mkdir(parents=True, exist_ok=True)
    text = report.markdown(results)
    print(text)
    document = folder / "chain.md"
    if document.is_file():
        sections.replace(document, "chain-bench", text)
    else:
        document.write_text(f"<!-- chain-bench -->\n{text}\n<!-- /chain-bench -->\n")
    plot.draw(results, folder / "chain.png")
    (CHECKOUT / "build").mkdir(exist_ok=True)
    (CHECKOUT / "build" / "chain.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {document}, {folder / 'chain.png'}, build/chain.json", file=sys.stderr)


if __name__ == "__main__":
    main()
