"""python -m loadtest.peers: measures this service and every Python model server side by side, on this machine.

Each peer gets a virtual environment under .venvs/ on first use (2 GB and some minutes for all of them), serves the
same ONNX files on a free port of 127.0.0.1 with one worker and one engine thread, and is asked by wrk, which has to be
installed, with 64 different one-sample JSON bodies in turn. In every round each peer is started, checked against ONNX
Runtime, measured, checked again and ended; a peer that gives a wrong answer gets no figure.

  python -m loadtest.peers                                        everything, about 15 minutes
  python -m loadtest.peers --peers ekiben,triton --rounds 1       a first look
  python -m loadtest.peers --models iris                          half the cells; both files are served all the same
  python -m loadtest.peers --onnx iris=a.onnx --peers triton      another file than the newest in the BentoML store

Written: bench.json (machine, versions, settings, every round), bench.md (the tables) and bench.png.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from loadtest.peers import peer, plot, rounds, samples, summary, wrk


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everybody = ",".join(peer.names())
    parser.add_argument("--peers", type=several, default=everybody, metavar="A,B", help=f"which, of {everybody}")
    parser.add_argument("--models", type=several, default="iris,digits", metavar="A,B", help="which, of iris,digits")
    parser.add_argument("--connections", type=several, default="8,32", metavar="N,M", help="kept open by wrk (8,32)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each cell is measured (3)")
    parser.add_argument("--seconds", type=float, default=4, help="of one measurement, whole seconds (4)")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before each measurement (1; 0: none)")
    parser.add_argument("--onnx", action="append", type=file, default=[], metavar="MODEL=PATH", help="serve this file")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for the results (build/bench)")
    chosen = parser.parse_args(given)
    if unknown := set(chosen.models) - set(samples.MAKERS):
        parser.error(f"unknown model {min(unknown)!r}: there are {', '.join(samples.MAKERS)}")
    return chosen


def several(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def file(text: str) -> tuple[str, Path]:
    model, _, path = text.partition("=")
    if model not in samples.MAKERS or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=PATH with a model of {', '.join(samples.MAKERS)}")
    return model, Path(path).resolve()


def main() -> None:
    chosen = arguments()
    wrk.require()
    # A terminated benchmark unwinds like an interrupted one, and so ends the server that it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = prepare(chosen)
    started, records, status = time.strftime("%Y-%m-%dT%H:%M:%S%z"), [], 0
    try:
        with contextlib.closing(bench.records(rounds.progress(bench.total))) as measured:
            for record in measured:
                records.append(record)
    except KeyboardInterrupt:
        print("interrupted: what was measured until now is written", file=sys.stderr)
        status = 130
    if records:
        write(chosen.out, {"started": started, **describe(bench), "records": records})
    sys.exit(status)


def prepare(chosen: argparse.Namespace) -> rounds.Bench:
    """Environments made, files found, right answers computed. A peer that cannot be installed is left out, aloud."""
    given = dict(chosen.onnx)
    # All files, whichever are asked about: every peer serves every model, as a server in use does.
    onnx = {model: given.get(model) or samples.stored(model) for model in samples.MAKERS}
    peers = [found for name in chosen.peers if (found := installed(name))]
    settings = rounds.Settings(
        chosen.models, [int(text) for text in chosen.connections], chosen.rounds, chosen.seconds, chosen.warmup
    )
    right = {model: samples.samples(model, onnx[model]) for model in chosen.models}
    return rounds.Bench(peers, right, settings, onnx, chosen.out / "logs")


def installed(name: str) -> peer.Peer | None:
    try:
        found = peer.read(name)
        peer.install(found)
        return found
    except peer.PeerError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None


def describe(bench: rounds.Bench) -> dict[str, Any]:
    """What bench.json says besides the rounds."""
    peers = {
        each.name: {"title": each.title, "limit": each.limit, "versions": peer.versions(each), "routes": each.routes}
        for each in bench.peers
    }
    files = {model: {"sha256": sha256(path.read_bytes()).hexdigest()} for model, path in bench.onnx.items()}
    return {"machine": rounds.machine(), "settings": asdict(bench.settings), "onnx": files, "peers": peers}


def write(folder: Path, results: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    text = summary.markdown(results)
    (folder / "bench.md").write_text(text)
    print(text)
    plot.draw(results, folder / "bench.png")
    print(f"written: {folder}/bench.json, bench.md, bench.png", file=sys.stderr)


if __name__ == "__main__":
    main()
