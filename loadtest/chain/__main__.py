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

from loadtest import machine, wrk
from loadtest.chain import report
from loadtest.chain.arrangements import REPLICAS, WAYS, ChainError, check, measure, start_all
from loadtest.documents import CHECKOUT, command_line, replace_section
from loadtest.peers.__main__ import numbers
from loadtest.progress import Progress
from loadtest.service import ServiceError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The options. SystemExit where the model has no files"""
    parser = command_line("loadtest.chain", __doc__)
    add = parser.add_argument
    add("--model", default="digits", help="one that takes a file, with examples (digits)")
    add("--connections", type=numbers, default="1,8", metavar="N,M", help="kept open by wrk (1,8)")
    add("--rounds", type=int, default=3, help="how often each cell is measured (3)")
    add("--seconds", type=int, default=3, help="of one measurement, whole seconds (3)")
    add("--out", type=Path, default=CHECKOUT / "docs", help="folder of chain.md and chain.png (docs)")
    options = parser.parse_args(words)
    if not examples(options.model):
        parser.error(f"--model {options.model}: bentos/{options.model}/examples.json names no files")
    return options


def examples(model: str) -> list[Path]:
    """The example files of a model's folder."""
    folder = CHECKOUT / "bentos" / model
    if not (folder / "examples.json").is_file():
        return []
    return [folder / name for name in json.loads((folder / "examples.json").read_text()) if isinstance(name, str)]


def main(words: list[str] | None = None) -> None:
    """The command. SystemExit where arrangements cannot be compared"""
    options = arguments(words)
    wrk.require()
    # A terminated benchmark unwinds like an interrupted one, and so ends the services that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # What compose shares between containers is memory, too.
    volume = Path(tempfile.mkdtemp(prefix="ekiben-chain-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        write(options.out, run(options, volume))
    except (ChainError, ServiceError, wrk.WrkError) as error:
        sys.exit(str(error))
    finally:
        shutil.rmtree(volume, ignore_errors=True)


def run(options: argparse.Namespace, volume: Path) -> dict[str, Any]:
    """Everything measured. ChainError, ServiceError, WrkError"""
    files = [example.read_bytes() for example in examples(options.model)]
    print("starting the services …", file=sys.stderr, flush=True)
    with start_all(options.model, volume, CHECKOUT / "build" / "chain") as arrangements:
        check(arrangements, files)
        progress = Progress(options.rounds * len(WAYS) * len(REPLICAS) * len(options.connections))
        records = list(measure(arrangements, files, options.connections, options.rounds, options.seconds, progress))
        progress.close()
        check(arrangements, files)
        if left := list(volume.iterdir()):
            raise ChainError(f"{len(left)} files were left on the volume")
    settings = {name: getattr(options, name) for name in ("model", "connections", "rounds", "seconds")}
    return {"machine": machine.describe(), **settings, "records": records}


def write(folder: Path, results: dict[str, Any]) -> None:
    """chain.png, and the figures into chain.md, between its marks if it has any."""
    folder.mkdir(parents=True, exist_ok=True)
    text = report.markdown(results)
    print(text)
    document = folder / "chain.md"
    if not document.is_file():
        document.write_text("<!-- chain-bench -->\n<!-- /chain-bench -->\n")
    replace_section(document, "chain-bench", text)
    report.draw(results, folder / "chain.png")
    (CHECKOUT / "build").mkdir(exist_ok=True)
    (CHECKOUT / "build" / "chain.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {document}, {folder / 'chain.png'}, build/chain.json", file=sys.stderr)


if __name__ == "__main__":
    main()
