"""python -m loadtest.peers: measures this service and every Python model server side by side, on this machine.

Each peer gets a virtual environment under .venvs/ on first use (2 GB and some minutes for all of them), serves the
same ONNX files on a free port of 127.0.0.1 with one worker and one engine thread, and is asked by wrk, which has to be
installed, in a closed loop. In every round the peers come in another order; each is started, checked against ONNX
Runtime, measured, checked again and ended; a peer that gives a wrong answer gets no figure.

Heads: `own` is how an ingress sends: every request has an X-Request-Id, X-Forwarded-For, X-Real-IP and traceparent of
its own, and V2's JSON an id; `fixed` is the same head every time. Payloads: `json` is each peer's own JSON, `v2-json`
that of those who speak V2, `v2-binary` its binary extension, `native` the fields of a model, `picture` a PNG upload,
`grpc` V2's ModelInfer, by h2load and with fixed heads. `sentences` is of a model of its own, MiniLM, by V2's binary
extension: requests of 4 to 64 tokens, no two alike; examples/models/README.md says how it comes into the store.

  python -m loadtest.peers                                        everything, about an hour
  python -m loadtest.peers --write                                and README.md, docs/performance.md, docs/bench.png
  python -m loadtest.peers --peers ekiben,triton --rounds 1       a first look
  python -m loadtest.peers --peers ekiben --checkout before=../main --payload v2-json,v2-binary,native,picture
  python -m loadtest.peers --payload json,sentences --write       also requests of variable lengths
  python -m loadtest.peers --peers ekiben,triton --workers 4      processes of ours, instances of Triton's models
  python -m loadtest.peers --onnx iris=a.onnx --peers triton      another file than the newest in the BentoML store

Written: bench.json (machine, versions, settings, every round), bench.md (the tables) and bench.png.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from loadtest.clients import require_wrk
from loadtest.documents import CHECKOUT, Progress, Section, command_line
from loadtest.peers import bench, payloads, peer, report
from loadtest.service import run_command


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The options. SystemExit names what is unknown"""
    parser = command_line("loadtest.peers", __doc__)
    everybody = ",".join(peer.names())
    add = parser.add_argument
    add("--peers", type=several, default=everybody, metavar="A,B", help=f"which, of {everybody}")
    add("--checkout", action="append", type=checkout, default=[], metavar="NAME=PATH",
        help="our service from another checkout too, by its own .venv")  # fmt: skip
    add("--models", type=several, default="iris,digits", metavar="A,B", help="which, of iris,digits")
    add("--payload", type=several, default="json", metavar="A,B", help=f"of {', '.join(payloads.PAYLOADS)} (json)")
    add("--heads", type=several, default="own,fixed", metavar="A,B", help="of own, fixed (both)")
    add("--connections", type=numbers, default="8,32", metavar="N,M", help="kept open by wrk (8,32)")
    add("--workers", type=int, default=1,
        help="processes of ours, and instances of each of Triton's models; of others one (1)")  # fmt: skip
    add("--rounds", type=int, default=7, help="how often each cell is measured (7)")
    add("--seconds", type=float, default=3, help="of one measurement, whole seconds (3)")
    add("--warmup", type=float, default=1, help="seconds before each measurement (1; 0: none)")
    add("--seed", type=int, default=0, help="of the order in each round (0)")
    add("--onnx", action="append", type=file, default=[], metavar="MODEL=PATH", help="serve this file")
    add("--out", type=Path, default=Path("build/bench"), help="folder for the results (build/bench)")
    add("--write", action="store_true", help="write README.md's and docs/performance.md's bench sections, and the plot")
    options = parser.parse_args(words)
    models = [name for name in payloads.MAKERS if name != "sentences"]
    for name, known in (("models", models), ("payload", payloads.PAYLOADS), ("heads", ("own", "fixed"))):
        if unknown := set(getattr(options, name)) - set(known):
            parser.error(f"--{name}: unknown {min(unknown)!r}: there are {', '.join(known)}")
    if "sentences" in options.payload:
        options.models.append("sentences")
    return options


def several(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",")]


def numbers(text: str) -> list[int]:
    """Whole numbers from 1. argparse.ArgumentTypeError"""
    values = [int(word) for word in text.split(",")]
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be whole numbers from 1")
    return values


def file(text: str) -> tuple[str, Path]:
    """MODEL=PATH. argparse.ArgumentTypeError"""
    model, _, path = text.partition("=")
    if model not in payloads.MAKERS or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=PATH with a model of {', '.join(payloads.MAKERS)}")
    return model, Path(path).resolve()


def checkout(text: str) -> tuple[str, Path]:
    """NAME=PATH. argparse.ArgumentTypeError"""
    name, _, path = text.partition("=")
    if not name or not path or not (Path(path) / ".venv/bin/python").exists():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH of a checkout with a .venv")
    return name, Path(path).absolute()


def main() -> int:
    """The command, 130 where it was interrupted; what was measured until an interruption is written too."""
    options = arguments()
    require_wrk()
    if options.write:
        for document in report.DOCUMENTS:
            Section(CHECKOUT / document, "bench").check()
    comparison = prepare(options)
    started, records, status = time.strftime("%Y-%m-%dT%H:%M:%S%z"), [], 0
    try:
        with contextlib.closing(comparison.records()) as measured, Progress(comparison.total) as progress:
            for record in measured:
                records.append(record)
                progress.tell(bench.describe(record))
    except KeyboardInterrupt:
        print("interrupted: what was measured until now is written", file=sys.stderr)
        status = 130
    if records:
        publish(options, {"started": started, **about(comparison), "records": records})
    return status


def prepare(options: argparse.Namespace) -> bench.Bench:
    """Environments made, files found, expected answers computed. A peer that cannot be installed is left out, aloud."""
    files = dict(options.onnx)
    # All files, whichever are asked about: every peer serves every model, as a server in use does.
    models = dict.fromkeys(["iris", "digits", *options.models])
    onnx = {model: files.get(model) or payloads.stored_onnx(model) for model in models}
    peers = [each for name in options.peers if (each := installed(name))]
    peers += [peer.of_checkout(name, path) for name, path in options.checkout]
    samples = {model: payloads.sample(model, onnx[model]) for model in options.models}
    settings = bench.Settings(**{name: getattr(options, name) for name in bench.Settings.__dataclass_fields__})
    return bench.Bench(peers, samples, settings, onnx, options.out / "logs")


def installed(name: str) -> peer.Peer | None:
    """The peer, with its environment; None, and a line why, where it cannot be installed."""
    try:
        each = peer.read(name)
        peer.install(each)
        return each
    except peer.PeerError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None


def about(comparison: bench.Bench) -> dict[str, Any]:
    """What bench.json says besides the rounds."""
    peers = {
        each.name: {"title": each.title, "limit": each.limit, "versions": peer.versions(each), "routes": each.routes}
        for each in comparison.peers
    }
    files = {model: {"sha256": sha256(path.read_bytes()).hexdigest()} for model, path in comparison.onnx.items()}
    return {"machine": bench.machine(), "settings": asdict(comparison.settings), "onnx": files, "peers": peers}


def publish(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """All that is written, and the tables to standard output."""
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    text = report.markdown(results)
    (folder / "bench.md").write_text(f"{text}\n")
    print(text)
    report.draw(results, folder / "bench.png")
    print(f"written: {folder}/bench.json, bench.md, bench.png", file=sys.stderr)
    if options.write:
        report.write_documents(results, CHECKOUT)
        print(f"written: {', '.join(map(str, report.DOCUMENTS))}, docs/bench.png", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
